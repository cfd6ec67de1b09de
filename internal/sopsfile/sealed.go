package sopsfile

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/getsops/sops/v3"
)

// Sealed is an encrypted file of which it is known, for every value, whether it is encrypted. No
// key is needed for that. It is not safe for concurrent use.
type Sealed struct {
	file     *File
	branches sops.TreeBranches
	index    index
}

// Seal finds the encrypted values of the file. It is an error when a value that should be encrypted
// is not.
func (f *File) Seal() (*Sealed, error) {
	tree := f.tree
	tree.Branches = clone(f.tree.Branches)
	c := &checkedCipher{Cipher: markingCipher{}}
	err := guard(func() error {
		_, err := tree.Decrypt(nil, c)
		return err
	})
	if err != nil {
		return nil, c.explain(err)
	}
	return &Sealed{f, tree.Branches, make(index)}, nil
}

// markingCipher "decrypts" a value by marking that it is encrypted: which values are is sops's
// decision alone. The mark is the type, bytes, which no reader of a format makes.
type markingCipher struct{}

func (markingCipher) Encrypt(any, []byte, string) (string, error) {
	return "", errors.New("not a cipher")
}

func (markingCipher) Decrypt(ciphertext string, _ []byte, _ string) (any, error) {
	switch {
	case ciphertext == "": // sops does not encrypt the empty string
		return "", nil
	case !strings.HasPrefix(ciphertext, cipherBegin):
		return nil, errors.New("not encrypted")
	case strings.Contains(ciphertext, ",type:comment]"):
		return sops.Comment{Value: ciphertext}, nil
	}
	return []byte(ciphertext), nil
}

// NeedsRemoteKey is that of the file.
func (s *Sealed) NeedsRemoteKey() bool { return s.file.NeedsRemoteKey() }

// Has says whether a key leads to a value. The error is that of Plain.Value.
func (s *Sealed) Has(key string) error {
	if key == "" {
		if _, ok := s.index.last(s.branches[0], s.file.single); s.file.single != "" && !ok {
			return s.file.errNotSingle()
		}
		return nil
	}
	_, v, err := s.index.find(s.branches, key)
	if err == nil && v == nil {
		err = errNull(key)
	}
	return err
}

// Warning says that the value of a key is no text, and so perhaps not what its author wrote: YAML
// reads 012345 as 5349, and 1.10 as 1.1, before sops encrypts it. It is empty for all others.
func (s *Sealed) Warning(key string) string {
	_, v, err := s.index.find(s.branches, key)
	if err != nil || key == "" {
		return ""
	}
	what := ""
	switch v := v.(type) {
	case []byte:
		what = map[string]string{"int": "a number", "float": "a number", "bool": "a boolean", "time": "a time"}[cipherType(v)]
	case int, float64:
		what = "a number"
	case bool:
		what = "a boolean"
	case time.Time:
		what = "a time"
	}
	if what == "" {
		return ""
	}
	return fmt.Sprintf("key %q is %s, no text: 012345 became 5349, 1.10 became 1.1, True became true when it was encrypted; "+
		"if it was written in such a way, put quotes around it and encrypt the file again", key, what)
}

// Size is the length of a text, or of a value that is encrypted: the cipher of sops keeps it. ok is
// false for what is no single value.
func (s *Sealed) Size(key string) (n int, ok bool) {
	_, v, err := s.index.find(s.branches, key)
	if err != nil || key == "" {
		return 0, false
	}
	switch v := v.(type) {
	case string:
		return len(v), true
	case []byte:
		_, data, _ := strings.Cut(string(v), "data:")
		data, _, _ = strings.Cut(data, ",")
		plain, err := base64.StdEncoding.DecodeString(data)
		return len(plain), err == nil
	}
	return 0, false
}

// cipherType is the type that an encrypted value says it has.
func cipherType(ciphertext []byte) string {
	at := bytes.LastIndex(ciphertext, []byte(",type:"))
	if at < 0 {
		return ""
	}
	return string(bytes.TrimSuffix(ciphertext[at+len(",type:"):], []byte("]")))
}

// Write writes what decides the value of a key to w, in a form in which different inputs never look
// alike: the value as it stands in the file, encrypted or not, with the names below it. Comments
// count where they are part of what is printed.
func (s *Sealed) Write(w io.Writer, key string) error {
	e := &encoder{w: w, comments: s.file.comments}
	e.text('f', string(s.file.format))
	if key == "" {
		e.number('D', len(s.branches))
		for _, b := range s.branches {
			e.value(b)
		}
		return e.err
	}
	path, v, err := s.index.find(s.branches, key)
	if err != nil {
		return err
	}
	e.number('P', len(path))
	for _, element := range path {
		e.text('k', element)
	}
	e.value(v)
	return e.err
}

// encoder writes tagged values: a letter, a length in eight bytes, the bytes.
type encoder struct {
	w        io.Writer
	comments bool
	err      error
}

func (e *encoder) text(tag byte, s string) {
	e.number(tag, len(s))
	if e.err == nil {
		_, e.err = io.WriteString(e.w, s)
	}
}

func (e *encoder) number(tag byte, n int) {
	if e.err == nil {
		_, e.err = e.w.Write(binary.BigEndian.AppendUint64([]byte{tag}, uint64(n)))
	}
}

func (e *encoder) value(v any) {
	switch v := v.(type) {
	case sops.TreeBranch:
		var items []sops.TreeItem
		for _, item := range v {
			if _, ok := item.Key.(sops.Comment); !ok || e.comments {
				items = append(items, item)
			}
		}
		e.number('M', len(items))
		for _, item := range items {
			e.value(item.Key)
			e.value(item.Value)
		}
	case []any:
		items := v
		if !e.comments {
			items = withoutComments(v)
		}
		e.number('L', len(items))
		for _, item := range items {
			e.value(item)
		}
	case []byte:
		e.text('e', string(v))
	case string:
		e.text('s', v)
	case sops.Comment:
		e.text('c', v.Value)
		if v.Inline {
			e.number('i', 0)
		}
	case time.Time:
		e.text('t', v.Format(time.RFC3339Nano))
	case nil, bool, int, float64:
		e.text('v', fmt.Sprintf("%T %v", v, v))
	default:
		e.err = fmt.Errorf("a value of type %T", v)
	}
}
