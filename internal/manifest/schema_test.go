package manifest

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// node is a part of a JSON schema.
type node struct {
	Ref        string          `json:"$ref"`
	Properties map[string]node `json:"properties"`
	Items      *node           `json:"items"`
}

// unread are fields of sops-nix's manifests that other programs read.
var unread = []string{"neededForUsers", "sopsFileHash"}

// TestSchema: the documented schema has the fields that are read, and no others.
func TestSchema(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/reference/manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Defs map[string]node `json:"$defs"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	var compare func(at string, n node, t reflect.Type)
	compare = func(at string, n node, typ reflect.Type) {
		if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok {
			if n, ok = s.Defs[name]; !ok {
				t.Errorf("%s: %s is not defined", at, n.Ref)
			}
		}
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			if typ.Kind() == reflect.Slice {
				if n.Items == nil {
					t.Errorf("%s: no items", at)
					return
				}
				n = *n.Items
			}
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			if len(n.Properties) > 0 {
				t.Errorf("%s: has properties", at)
			}
			return
		}
		fields := fieldsOf(typ)
		for name, field := range fields {
			inner, ok := n.Properties[name]
			if !ok {
				t.Errorf("%s.%s is not described", at, name)
				continue
			}
			compare(at+"."+name, inner, field)
		}
		for name := range n.Properties {
			if fields[name] == nil && !slices.Contains(unread, name) {
				t.Errorf("%s.%s is described, and not read", at, name)
			}
		}
	}
	compare("activation", s.Defs["activation"], reflect.TypeFor[rawManifest]())
	compare("initrd", s.Defs["initrd"], reflect.TypeFor[rawInitrd]())
}

// fieldsOf are the types of the JSON fields of a struct.
func fieldsOf(typ reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(typ) {
		if name := f.Tag.Get("json"); name != "" && !f.Anonymous {
			fields[name] = f.Type
		}
	}
	return fields
}
