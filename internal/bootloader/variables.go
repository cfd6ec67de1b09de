package bootloader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// VariablesDir is where Linux shows the variables of the firmware (efivarfs).
const VariablesDir = "/sys/firmware/efi/efivars"

// bootVariable is the name of a boot entry of the firmware. The GUID is that of the UEFI
// specification.
var bootVariable = pattern.New(`^Boot[0-9A-F]{4}-8be4df61-93ca-11d2-aa0d-00e098032b8c$`)

// bootVariables lists the boot entries of the firmware; none where it has no variables.
func bootVariables(dir string) (found []string, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, f := range files {
		if bootVariable().MatchString(f.Name()) {
			found = append(found, filepath.Join(dir, f.Name()))
		}
	}
	return found, err
}

// addVariables adds the boot entries of the firmware that start a NixOS kernel directly, with the
// initrds that their parameters name.
func (m *Menu) addVariables(dir string) error {
	found, err := bootVariables(dir)
	if err != nil {
		return err
	}
	next, _ := nextOf(dir)
	for _, file := range found {
		data, err := readVariable(file)
		if err != nil {
			m.Odd = append(m.Odd, Odd{file, err})
			continue
		}
		o, err := parseLoadOption(data)
		if err != nil {
			continue // the firmware's own, or of a form that is nobody's but its maker's
		}
		e := Entry{Title: o.description, file: file, line: unchangeable, variable: true}
		e.Default = filepath.Base(file) == next
		parameters := text(o.parameters)
		for _, p := range initrdParameter().FindAllStringSubmatch(parameters, -1) {
			e.Initrds = append(e.Initrds, m.host("", p[2]))
		}
		init := initOf().FindStringSubmatch(parameters)
		if init == nil {
			m.foreign = append(m.foreign, e.Initrds...)
			continue
		}
		e.Toplevel = init[1]
		if len(e.Initrds) == 1 {
			e.line = 0
		}
		m.Entries = append(m.Entries, e)
	}
	return nil
}

const firmwareGUID = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// nextOf is the name of the variable with the entry that the firmware starts next, and what it
// calls it; "" where that cannot be told.
func nextOf(dir string) (variable, description string) {
	for _, list := range []string{"BootNext", "BootOrder"} {
		data, err := readVariable(filepath.Join(dir, list+firmwareGUID))
		const attributes = 4
		if err != nil || len(data) < attributes+2 {
			continue
		}
		variable = fmt.Sprintf("Boot%04X%s", binary.LittleEndian.Uint16(data[attributes:]), firmwareGUID)
		if data, err = readVariable(filepath.Join(dir, variable)); err == nil {
			if o, err := parseLoadOption(data); err == nil {
				description = o.description
			}
		}
		return variable, description
	}
	return "", ""
}

// maxVariableBytes bounds a variable; firmware has less room for all of them together.
const maxVariableBytes = 1 << 20

func readVariable(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, &fs.PathError{Op: "open", Path: file, Err: errNoRegular})
	}
	data, err := io.ReadAll(io.LimitReader(f, maxVariableBytes+1))
	if err == nil && len(data) > maxVariableBytes {
		err = fmt.Errorf("boot entry %s: is larger than %d bytes", file, maxVariableBytes)
	}
	return data, err
}

// loadOption is an EFI_LOAD_OPTION (UEFI specification, 3.1.3) as efivarfs shows it, behind the
// attributes of the variable.
type loadOption struct {
	head        []byte // attributes of both, length of the device path, description, device path
	description string
	parameters  []uint16 // UTF-16 as it is: a firmware may have written what is no valid text
}

// loadOptionHead has the attributes of the variable (4), of the option (4), and the length of the
// device path (2).
const loadOptionHead = 10

func parseLoadOption(data []byte) (*loadOption, error) {
	if len(data) < loadOptionHead {
		return nil, errors.New("is too short")
	}
	path := int(binary.LittleEndian.Uint16(data[8:]))
	end := loadOptionHead
	for end+1 < len(data) && (data[end] != 0 || data[end+1] != 0) {
		end += 2
	}
	description := text(units(data[loadOptionHead:end]))
	end += 2 + path
	if end > len(data) || (len(data)-end)%2 != 0 {
		return nil, errors.New("has no text behind its device path")
	}
	return &loadOption{data[:end], description, units(data[end:])}, nil
}

// withInitrd is the option with another initrd among its parameters, and nothing else changed.
func (o *loadOption) withInitrd(initrd string) []byte {
	// The expressions work on a shadow with one byte for each unit, so that places are the same.
	shadow := make([]byte, len(o.parameters))
	for i, u := range o.parameters {
		switch {
		case u == 0:
			shadow[i] = ' ' // ends the text
		case u < 0x80:
			shadow[i] = byte(u)
		default:
			shadow[i] = 'x'
		}
	}
	var changed []uint16
	at := 0
	for _, m := range initrdParameter().FindAllSubmatchIndex(shadow, -1) {
		changed = append(append(changed, o.parameters[at:m[4]]...), utf16.Encode([]rune(initrd))...)
		at = m[5]
	}
	changed = append(changed, o.parameters[at:]...)
	b := bytes.Clone(o.head)
	for _, unit := range changed {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

func units(data []byte) (all []uint16) {
	for i := 0; i+1 < len(data); i += 2 {
		all = append(all, binary.LittleEndian.Uint16(data[i:]))
	}
	return all
}

func text(units []uint16) string {
	return strings.ReplaceAll(strings.TrimRight(string(utf16.Decode(units)), "\x00"), "\x00", " ")
}

// rewriteVariable makes a boot entry of the firmware name another initrd. A variable is set by one
// write, which the firmware carries out as a whole. One that would not change is not written,
// since the firmware's memory wears.
func rewriteVariable(file, initrd string) error {
	data, err := readVariable(file)
	if err != nil {
		return err
	}
	o, err := parseLoadOption(data)
	if err != nil {
		return fmt.Errorf("boot entry %s: %w", file, err)
	}
	changed := o.withInitrd(initrd)
	if bytes.Equal(changed, data) {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(changed)
	if info, stat := f.Stat(); err == nil && stat == nil && info.Size() > int64(len(changed)) {
		err = f.Truncate(int64(len(changed))) // efivarfs has done so itself
	}
	return errors.Join(err, f.Close())
}
