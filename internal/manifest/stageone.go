package manifest

import "fmt"

// StageOne says what stage 1 reads of the entries, and what else decides whether it lets its owner
// in. It is advice for package lockout: programs that do not know it install the same.
type StageOne struct {
	// Cryptsetup is the program that tries key files.
	Cryptsetup string       `json:"cryptsetup"`
	LUKS       []LUKSDevice `json:"luks"`
	// WireGuardKeys are paths in stage 1.
	WireGuardKeys []string `json:"wireguardKeys"`
	// AuthorizedKeys are those of the sshd in stage 1; nil where there is none.
	AuthorizedKeys []string `json:"authorizedKeys"`
}

// LUKSDevice is a device that stage 1 opens with a key file.
type LUKSDevice struct {
	Name   string `json:"name"`
	Device string `json:"device"`
	// KeyFile is its path in stage 1; Size and Offset, where set, say which bytes of it are the key.
	KeyFile string `json:"keyFile"`
	Size    int64  `json:"keyFileSize"`
	Offset  int64  `json:"keyFileOffset"`
	// Header is the file or device with the header, where that is elsewhere.
	Header string `json:"header"`
}

func (s *StageOne) check(f *faults) {
	if s == nil {
		return
	}
	if s.Cryptsetup != "" || len(s.LUKS) > 0 {
		f.opened("stageOne.cryptsetup", s.Cryptsetup)
	}
	for i, d := range s.LUKS {
		at := fmt.Sprintf("stageOne.luks[%d].", i)
		f.opened(at+"device", d.Device)
		f.opened(at+"keyFile", d.KeyFile)
		if d.Size < 0 || d.Offset < 0 {
			f.add(at+"keyFileSize", "neither it nor keyFileOffset can be negative")
		}
	}
}
