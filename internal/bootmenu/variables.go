package bootmenu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"
)

// VariablesDir is where Linux shows the variables of the firmware (efivarfs).
const VariablesDir = "/sys/firmware/efi/efivars"

// bootVariables are the firmware's boot entries. The GUID is that of the UEFI specification's own variables.
const (
	variableGUID  = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	bootVariables = "Boot[0-9A-F][0-9A-F][0-9A-F][0-9A-F]" + variableGUID
)

// AddVariables adds the boot entries of the firmware that start a NixOS kernel directly, with the initrds that their parameters name. dir
// is VariablesDir; where it is not there, there are none.
func (m *Menu) AddVariables(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, bootVariables))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		o, err := parseLoadOption(data)
		if err != nil {
			continue // the firmware's own, or of a form that is nobody's but its maker's
		}
		init := initOf().FindStringSubmatch(o.parameters)
		if init == nil {
			continue
		}
		e := Entry{Title: o.description, Toplevel: init[1], file: file, line: -1}
		for _, p := range initrdParameter().FindAllStringSubmatch(o.parameters, -1) {
			e.Initrds = append(e.Initrds, m.host(file, p[2]))
		}
		if len(e.Initrds) == 1 {
			e.line = 0
		}
		m.Entries = append(m.Entries, e)
	}
	return nil
}

// loadOption is an EFI_LOAD_OPTION (UEFI specification, 3.1.3) as efivarfs shows it, behind the attributes of the variable.
type loadOption struct {
	head        []byte // attributes of both, length of the device path, description, device path
	description string
	parameters  string
	terminated  bool // whether the parameters end in a NUL
}

const loadOptionHead = 10 // attributes of the variable (4), of the option (4), length of the device path (2)

func parseLoadOption(data []byte) (*loadOption, error) {
	if len(data) < loadOptionHead {
		return nil, errors.New("is too short")
	}
	path := int(binary.LittleEndian.Uint16(data[8:]))
	end := loadOptionHead
	for end+1 < len(data) && (data[end] != 0 || data[end+1] != 0) {
		end += 2
	}
	description, _ := decode(data[loadOptionHead:end])
	end += 2 + path
	if end > len(data) || (len(data)-end)%2 != 0 {
		return nil, errors.New("has no text behind its device path")
	}
	o := &loadOption{head: data[:end], description: description}
	o.parameters, o.terminated = decode(data[end:])
	return o, nil
}

func (o *loadOption) bytes() []byte {
	text := o.parameters
	if o.terminated {
		text += "\x00"
	}
	b := bytes.Clone(o.head)
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

func decode(data []byte) (text string, terminated bool) {
	var units []uint16
	for i := 0; i+1 < len(data); i += 2 {
		units = append(units, binary.LittleEndian.Uint16(data[i:]))
	}
	return strings.CutSuffix(string(utf16.Decode(units)), "\x00")
}

// rewriteVariable makes a boot entry of the firmware name another initrd. A variable is set by one write, which the firmware carries out
// as a whole; one that would not change is not written, since its memory wears.
func rewriteVariable(file, initrd string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	o, err := parseLoadOption(data)
	if err != nil {
		return fmt.Errorf("boot entry %s: %w", file, err)
	}
	o.parameters = withInitrd(o.parameters, initrd)
	changed := o.bytes()
	if bytes.Equal(changed, data) {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(changed)
	if info, stat := f.Stat(); err == nil && stat == nil && info.Size() > int64(len(changed)) {
		err = f.Truncate(int64(len(changed))) // efivarfs has done so itself
	}
	return errors.Join(err, f.Close())
}
