package loadertest

import "encoding/binary"

// PE makes an EFI program with nothing but these sections: names and contents.
func PE(sections [][2]string) []byte {
	const (
		headerAt     = 0x40
		sectionBytes = 40
		fileAlign    = 16
		amd64        = 0x8664
	)
	le := binary.LittleEndian
	b := make([]byte, headerAt)
	copy(b, "MZ")
	b[0x3c] = headerAt
	b = append(b, "PE\x00\x00"...)
	b = le.AppendUint16(b, amd64)
	b = le.AppendUint16(b, uint16(len(sections))) //nolint:gosec // a handful
	b = append(b, make([]byte, 16)...)            // no time, symbols, optional header, characteristics
	at := len(b) + sectionBytes*len(sections)
	var data []byte
	for _, s := range sections {
		var name [8]byte
		copy(name[:], s[0])
		b = append(b, name[:]...)
		padded := (len(s[1]) + fileAlign - 1) / fileAlign * fileAlign
		for _, field := range []int{len(s[1]), at, padded, at, 0, 0, 0, 0} {
			b = le.AppendUint32(b, uint32(field)) //nolint:gosec // a file of some hundred bytes
		}
		data = append(append(data, s[1]...), make([]byte, padded-len(s[1]))...)
		at += padded
	}
	return append(b, data...)
}
