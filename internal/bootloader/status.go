package bootloader

import (
	"errors"
	"io/fs"

	"github.com/sops-initrd/sops-initrd/internal/initrdsecrets"
)

// State says what a boot entry would find of its secrets.
type State string

// The states of entries.
const (
	Whole      State = "whole"           // the secrets of its own system, complete
	Stale      State = "stale"           // complete, but made of other inputs than its system has now
	Damaged    State = "damaged"         // the secrets were changed or cut
	Unknown    State = "unknown version" // made by a newer program
	Extra      State = "extra"           // has secrets that its system no longer needs
	NoneNeeded State = "none needed"     // its system has no initrd secrets
	NoFile     State = "no file"         // the initrd is not there
	CutShort   State = "cut short"       // the initrd is shorter than it was without secrets
	NoSecrets  State = "no secrets"      // the initrd has no secrets of ours
	NotYet     State = "not provisioned" // no secrets, and none of the machine's key files exists yet
	OtherBase  State = "other base"      // the initrd is not the one of its system (deep only)
	Gone       State = "gone"            // its system is not in the store any more
	Sealed     State = "does not open"   // complete and sealed, and the TPM of this machine refuses it
)

// States are all states.
func States() []State {
	return []State{
		Whole, Stale, Damaged, Unknown, Extra, NoneNeeded, NoFile, CutShort, NoSecrets, NotYet,
		OtherBase, Gone,
		Sealed,
	}
}

// EntryStatus is what an installed loader would boot, and with which secrets.
type EntryStatus struct {
	Boot   string `json:"boot"`
	Loader Kind   `json:"loader"`
	Title  string `json:"title"`
	// Default says that it boots when nobody chooses, as far as the menu tells.
	Default bool   `json:"default"`
	System  string `json:"system"`
	// Image is the initrd that has the secrets, or the last one where none has.
	Image string `json:"image"`
	State State  `json:"state"`
	// Lacks says that the system needs secrets and would not find its own.
	Lacks bool `json:"lacks"`
	// Compared says that the secrets were compared with the system's manifest; without it only
	// their wholeness is known.
	Compared bool `json:"compared"`
	// Readable says that other users of the host can read the image.
	Readable bool `json:"readable"`
	// Embedded says that the initrd is inside a unified kernel image, which nothing can be added
	// to.
	Embedded bool `json:"embedded"`
	// Problem says why something could not be compared.
	Problem string `json:"problem"`
	// Sealed says that secrets are encrypted for a TPM.
	Sealed bool `json:"sealed"`
	// Opens says whether this machine's TPM opens them now; "" where nothing is sealed.
	Opens initrdsecrets.Opens `json:"opens"`
	// Refusal says why it does not, or could not be asked.
	Refusal string `json:"refusal"`
}

// Repair says how to give the entry its secrets again.
func (e EntryStatus) Repair() string {
	if e.State == NotYet {
		return "put the key of this machine in place, then " + e.command()
	}
	return e.command()
}

func (e EntryStatus) command() string {
	if r := rowOf(e.Loader).repair; r != "" {
		return r
	}
	return Repair
}

// OddFile is something that could not be read, and why.
type OddFile struct {
	File    string `json:"file"`
	Problem string `json:"problem"`
	// nothing says that no loader could boot it, or that nothing of ours can be in it.
	nothing bool
}

func oddFile(name string, err error) OddFile {
	nothing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoRegular) ||
		errors.Is(err, errFetched)
	return OddFile{name, err.Error(), nothing}
}

// Status is what is installed.
type Status struct {
	Version int `json:"version"` // 1
	// OK says that nothing that can be booted lacks its secrets.
	OK      bool          `json:"ok"`
	Entries []EntryStatus `json:"entries"`
	// Unreadable are files of menus, and entries, that could not be read.
	Unreadable []OddFile `json:"unreadable"`
	// Leftovers are files with secrets that no entry loads.
	Leftovers []string `json:"leftovers"`
	// Temporary are files of runs that were killed.
	Temporary []string `json:"temporary"`
	// Removed are those of both that were removed.
	Removed []string `json:"removed"`
	// Next is what the firmware starts next, where it tells; "" elsewhere.
	Next string `json:"next"`
	// Lockout is what the TPM counts, where something is sealed and the TPM could be asked.
	Lockout *Lockout `json:"lockout,omitempty"`
	// Error says why there is nothing else.
	Error string `json:"error,omitempty"`
}

// Lockout is how many failures a TPM has counted, and how many it allows before it refuses.
type Lockout struct {
	Failures uint32 `json:"failures"`
	Max      uint32 `json:"max"`
	Locked   bool   `json:"locked"`
	// Near says that more than half are used up.
	Near bool `json:"near"`
}

// newStatus is empty, with lists that are not null.
func newStatus() *Status {
	return &Status{
		Version: 1, Entries: []EntryStatus{}, Unreadable: []OddFile{}, Leftovers: []string{},
		Temporary: []string{}, Removed: []string{},
	}
}

// Failed is the status of a check that failed.
func Failed(err error) *Status {
	s := newStatus()
	s.Error = err.Error()
	return s
}
