package vm

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Finding is a value that a disk holds where none may be.
type Finding struct {
	Name   string // of the value
	Form   string // plain, base64 or hex
	Offset int64
}

func (f Finding) String() string {
	return fmt.Sprintf("%s (%s) at byte %d", f.Name, f.Form,
		f.Offset)
}

// FindPlaintext searches a whole disk, free room, slack and journals included, for values: as they
// are, in base64 at each of its three alignments, in hex. What begins within except does not count.
// Values of less than 8 bytes, NULs around them not counted, are refused: they occur by chance.
func FindPlaintext(disk string, values map[string][]byte, except ...Extent) ([]Finding, error) {
	var findings []Finding
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	forms := map[[2]string][]byte{}
	longest := 0
	for name, value := range values {
		if len(bytes.Trim(value, "\x00")) < 8 {
			return nil, fmt.Errorf("value %s is too short to look for", name)
		}
		// The beginning is enough, and finds what was cut off as well.
		value = value[:min(len(value), 64)]
		forms[[2]string{name, "plain"}] = value
		forms[[2]string{name, "hex"}] = []byte(hex.EncodeToString(value))
		for shift := range 3 {
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), value...))
			forms[[2]string{name, fmt.Sprintf("base64, %d bytes off", shift)}] = []byte(
				text[4*((shift+2)/3) : len(text)/4*4])
		}
	}
	for _, form := range forms {
		longest = max(longest, len(form))
	}
	// Chunks overlap, so that nothing is missed between two of them.
	chunk, empty := make([]byte, 4<<20), make([]byte, 4<<20)
	for at := int64(0); ; {
		n, err := io.ReadFull(io.NewSectionReader(f, at, int64(len(chunk))), chunk)
		wanted := forms
		if bytes.Equal(chunk[:n], empty[:n]) { // most of a disk is, and no value
			wanted = nil
		}
		for form, needle := range wanted {
			for from := 0; ; {
				i := bytes.Index(chunk[from:n], needle)
				if i < 0 {
					break
				}
				offset := at + int64(from+i)
				if !slices.ContainsFunc(except, func(e Extent) bool { return e.holds(offset) }) {
					findings = append(findings, Finding{form[0], form[1], offset})
				}
				from += i + 1
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return unique(findings), nil
		case err != nil:
			return nil, err
		}
		at += int64(n - longest)
	}
}

func unique(findings []Finding) []Finding {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Form, b.Form))
	})
	return slices.Compact(findings)
}
