package sopsfile

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/getsops/sops/v3"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/pattern"
)

// cause is what is wrong with a file, in words that quote nothing of it but names of keys and
// fields, and numbers of lines.
type cause string

func (c cause) Error() string { return string(c) }

// The errors of the parsers are texts, which quote the lines they stumble over, and those may be
// plaintext.
var (
	yamlDuplicate = pattern.New(`line (\d+): mapping key ("[^"]{1,100}"|\d+) already defined at line (\d+)`)
	yamlLine      = pattern.New(`yaml: line (\d+): (.*)`)
	metadataField = pattern.New(`'([\w.\[\]]+)' expected`)
)

// yamlReasons are texts of the YAML parser that quote nothing.
var yamlReasons = []string{
	"found a tab character that violates indentation", "could not find expected ':'", "did not find expected key",
	"mapping values are not allowed in this context", "found character that cannot start any token",
	"found unexpected end of stream", "did not find expected '-' indicator",
}

// explain says what is wrong with a file that cannot be read, as far as that holds no value.
func (f *File) explain(data []byte, err error) error {
	text := err.Error()
	if known := cause(""); errors.As(err, &known) {
		return known
	}
	conflict := func(line []byte) bool { return bytes.HasPrefix(line, []byte("<<<<<<< ")) }
	if line := firstLine(data, conflict); line > 0 {
		return cause(fmt.Sprintf("line %d: a merge conflict that was not resolved", line))
	}
	var badTime *time.ParseError
	if f.format == manifest.Dotenv && bytes.Contains(data, []byte("\r\n")) {
		return cause("its lines end with CR LF, which sops does not read (dos2unix mends that)")
	}
	switch {
	case errors.Is(err, sops.MetadataNotFound) && bytes.Contains(data, []byte(cipherBegin)):
		return cause("there are no sops metadata in it, but encrypted values: it was cut off, or changed without sops")
	case errors.Is(err, sops.MetadataNotFound):
		return cause("not encrypted with sops: there are no sops metadata in it")
	case strings.Contains(text, "exceeded max depth"): // of the YAML parser
		return cause(fmt.Sprintf("nested deeper than %d levels", maxDepth))
	case errors.As(err, &badTime):
		return f.badTime(data)
	case strings.Contains(text, "No keys found in file"):
		return cause("it is encrypted for nobody: its sops metadata name no recipient")
	case strings.Contains(text, "Found duplicate sops entry"):
		return cause("it has sops metadata twice")
	case strings.Contains(text, "sops entry that is not a mapping"):
		return cause("the sops metadata are malformed: sops is no map")
	case strings.Contains(text, "cannot unmarshal !!"), strings.HasPrefix(text, "Error unmarshaling input YAML: YAML documents that are"):
		return cause("not a sops file: its content is no map")
	case metadataField().MatchString(text):
		return cause("the sops metadata are malformed: " + metadataField().FindStringSubmatch(text)[1] + " has another type than sops gives it")
	}
	if m := yamlDuplicate().FindStringSubmatch(text); m != nil {
		return cause(fmt.Sprintf("the key %s stands twice, in lines %s and %s", m[2], m[3], m[1]))
	}
	not := "not " + f.format.Title()
	if line := f.badLine(data, text); line != "" {
		return cause(not + ": " + line)
	}
	return cause(not + ", or its sops metadata are malformed")
}

// badLine finds the line that a parser could not read.
func (f *File) badLine(data []byte, text string) string {
	if m := yamlLine().FindStringSubmatch(text); m != nil {
		for _, reason := range yamlReasons {
			if strings.HasPrefix(m[2], reason) {
				return "line " + m[1] + ": " + reason
			}
		}
		return "line " + m[1] + " cannot be read"
	}
	switch f.format {
	case manifest.JSON, manifest.Binary:
		return badJSON(data)
	case manifest.Dotenv:
		return lineThat("has no =", firstLine(data, func(line []byte) bool { return line[0] != '#' && !bytes.Contains(line, []byte("=")) }))
	case manifest.INI:
		return lineThat("is neither a section nor a value", firstLine(data, func(line []byte) bool {
			section := line[0] == '[' && bytes.Contains(line, []byte("]"))
			return !section && line[0] != '#' && line[0] != ';' && (line[0] == '[' || !bytes.ContainsAny(line, "=:"))
		}))
	case manifest.YAML:
	}
	return ""
}

func badJSON(data []byte) string {
	var any stdjson.RawMessage
	err := stdjson.NewDecoder(bytes.NewReader(data)).Decode(&any)
	var syntax *stdjson.SyntaxError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early (was it cut off?)"
	case err == nil && any[0] != '{':
		return "it is no object"
	case errors.As(err, &syntax):
		return fmt.Sprintf("line %d cannot be read", 1+bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n")))
	}
	return ""
}

// firstLine is the number of the first line that is bad, or 0. Empty lines are not.
func firstLine(data []byte, bad func([]byte) bool) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if line = bytes.TrimSpace(line); len(line) > 0 && bad(line) {
			return n
		}
	}
	return 0
}

func lineThat(what string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("line %d %s", n, what)
}

// badTime names the time in the metadata that is none.
func (f *File) badTime(data []byte) error {
	field := ""
	err := guard(func() error {
		branches, err := f.store.LoadPlainFile(data)
		if err == nil && len(branches) > 0 {
			field = badTime(branches[0], "")
		}
		return err
	})
	if err != nil || field == "" {
		return cause("the sops metadata are malformed: a time in them, lastmodified or created_at, is missing")
	}
	return cause("the sops metadata are malformed: " + field + " is not a time as sops writes it (2006-01-02T15:04:05Z)")
}

// badTime looks for a time below a value. In flat formats the names have the path in them.
func badTime(v any, path string) string {
	var names []string
	var values []any
	switch v := v.(type) {
	case sops.TreeBranch:
		for _, item := range v {
			if name, ok := item.Key.(string); ok && (path != "" || strings.HasPrefix(name, "sops")) {
				names, values = append(names, strings.TrimPrefix(path+"."+name, ".")), append(values, item.Value)
			}
		}
	case []any:
		for i, item := range v {
			names, values = append(names, fmt.Sprintf("%s[%d]", path, i)), append(values, item)
		}
	case string:
		if _, err := time.Parse(time.RFC3339, v); err != nil && (strings.HasSuffix(path, "lastmodified") || strings.HasSuffix(path, "created_at")) {
			return path
		}
	}
	for i, name := range names {
		if found := badTime(values[i], name); found != "" {
			return found
		}
	}
	return ""
}
