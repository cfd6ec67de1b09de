package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sops-initrd/sops-initrd/internal/bootloader"
)

// schema is as much of JSON Schema as the schemas of docs/reference use, without references.
type schema struct {
	Type                 any               `json:"type"` // a name, or several
	Const                any               `json:"const"`
	Enum                 []any             `json:"enum"`
	Required             []string          `json:"required"`
	AdditionalProperties others            `json:"additionalProperties"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
}

// others is what properties without a description must be: none may be there (false), or a schema.
type others struct{ *schema }

func (o *others) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		return nil
	}
	return json.Unmarshal(data, &o.schema)
}

// check finds the first place where a value is not as the schema wants it.
func (s schema) check(at string, v any) error {
	kind := map[string]string{
		"map[string]interface {}": "object", "[]interface {}": "array", "string": "string", "bool": "boolean",
		"float64": "integer", "<nil>": "null",
	}[fmt.Sprintf("%T", v)]
	kinds, several := s.Type.([]any)
	if !several {
		kinds = []any{s.Type}
	}
	switch {
	case s.Type != nil && !slices.Contains(kinds, any(kind)):
		return fmt.Errorf("%s is %T, not %v", at, v, s.Type)
	case s.Const != nil && v != s.Const, s.Enum != nil && !slices.Contains(s.Enum, v):
		return fmt.Errorf("%s must not be %v", at, v)
	}
	if list, ok := v.([]any); ok {
		for i, item := range list {
			if err := s.Items.check(fmt.Sprintf("%s[%d]", at, i), item); err != nil {
				return err
			}
		}
	}
	object, ok := v.(map[string]any)
	for name, value := range object {
		inner, known := s.Properties[name]
		if other := s.AdditionalProperties.schema; !known && other != nil {
			inner, known = *other, true
		}
		if !known {
			return fmt.Errorf("%s has %s, which is not described", at, name)
		}
		if err := inner.check(at+"."+name, value); err != nil {
			return err
		}
	}
	for _, name := range s.Required {
		if _, there := object[name]; ok && !there {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	return nil
}

func statusSchema(t testing.TB) (s schema) {
	t.Helper()
	data, err := os.ReadFile("../../docs/reference/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatus_schema(t *testing.T) {
	t.Parallel()
	s := statusSchema(t)
	full := bootloader.Failed(errors.New("x"))
	full.Unreadable = []bootloader.OddFile{{File: "f", Problem: "p"}}
	full.Leftovers, full.Temporary, full.Removed = []string{"a"}, []string{"b"}, []string{"c"}
	for _, state := range bootloader.States() {
		for _, kind := range bootloader.Kinds() {
			full.Entries = append(full.Entries, bootloader.EntryStatus{State: state, Loader: kind})
		}
	}
	empty, err := bootloader.Look(t.Context(), bootloader.LookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []*bootloader.Status{full, bootloader.Failed(errors.New("x")), empty} {
		var b bytes.Buffer
		if err := printJSON(&b, status); err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		if err := s.check("status", v); err != nil {
			t.Error(err)
		}
		if bytes.Contains(b.Bytes(), []byte("null")) {
			t.Errorf("a list is null:\n%s", b.Bytes())
		}
	}
	for _, c := range []struct{ name, bad string }{
		{"other version", `{"version": 2}`}, {"missing field", `{"version": 1}`}, {"unknown field", `{"x": 1}`},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.bad), &v); err != nil {
			t.Fatal(err)
		}
		if s.check("status", v) == nil {
			t.Errorf("%s: the schema takes it", c.name)
		}
	}
}

// Every row fits 80 columns, whatever titles there are, and control characters are shown.
func TestStatusText_columns(t *testing.T) {
	t.Parallel()
	s := bootloader.Failed(errors.New(""))
	for _, title := range []string{"short", strings.Repeat("long ü ", 40), "\x1b[2J\r\nevil", strings.Repeat("\x00", 100), ""} {
		for _, state := range bootloader.States() {
			s.Entries = append(s.Entries, bootloader.EntryStatus{
				Boot: "/boot", Loader: bootloader.EFIStub, Title: title, State: state, Lacks: true, Readable: true, Problem: "p",
			})
		}
	}
	for line := range strings.Lines(statusText(s, false)) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			t.Errorf("control characters: %q", line)
		}
	}
}

// Labels hold what a title holds, in the form that Prometheus reads.
func TestMetrics_labels(t *testing.T) {
	t.Parallel()
	s := bootloader.Failed(errors.New(""))
	s.Error = ""
	s.Entries = []bootloader.EntryStatus{{Title: "a\"b\\c\nd\xff", Loader: bootloader.GRUB, Boot: "/boot", System: "/s"}}
	got := metrics(s, time.Unix(42, 0))
	for _, want := range []string{
		`sops_initrd_entry_lacks_secrets{entry="0",boot="/boot",loader="grub",title="a\"b\\c\nd` + "\ufffd" + `",system="/s"} 0` + "\n",
		"sops_initrd_last_check_timestamp_seconds 42\n", "sops_initrd_check_success 1\n", "sops_initrd_entries 1\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not have %q", got, want)
		}
	}
}
