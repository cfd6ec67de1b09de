package docs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
)

// stagePE writes a PE file with nothing but sections, each with the content of a file: what is looked at in a stub of lanzaboote, or in
// a unified kernel image. Arguments: OUTPUT SECTION FILE SECTION FILE…
func stagePE(args []string) error {
	if len(args) < 3 || len(args)%2 != 1 {
		return errors.New("stage-pe: OUTPUT SECTION FILE…")
	}
	type header struct {
		Name                                                           [8]byte
		VirtualSize, Address, Size, Offset, Zero1, Zero2, Zero3, Flags uint32
	}
	const dos, coff, alignment = 0x40, 24, 16
	count := len(args) / 2
	head := make([]byte, dos)
	copy(head, "MZ")
	head[0x3c] = dos
	var b, data bytes.Buffer
	b.Write(head)
	b.WriteString("PE\x00\x00")
	b.Write(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, 0x8664), uint16(count)))
	b.Write(make([]byte, 16))
	at := dos + coff + 40*count
	for i := range count {
		content, err := os.ReadFile(args[2*i+2])
		if err != nil {
			return err
		}
		padded := (len(content) + alignment - 1) / alignment * alignment
		h := header{VirtualSize: uint32(len(content)), Address: uint32(at), Size: uint32(padded), Offset: uint32(at)}
		copy(h.Name[:], args[2*i+1])
		if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
			return err
		}
		data.Write(content)
		data.Write(make([]byte, padded-len(content)))
		at += padded
	}
	return os.WriteFile(args[0], append(b.Bytes(), data.Bytes()...), 0o600)
}
