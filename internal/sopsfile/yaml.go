package sopsfile

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/stores"
	"go.yaml.in/yaml/v3"
)

// loadYAML reads an encrypted YAML file as sops's own store does. That one parses a file twice, the
// first time only to find keys that stand twice, for which the parser compares each key of a map
// with all others: 5000 keys take as long for that as for everything else together. A file of plain
// maps, lists and values, as sops writes them, is parsed once here, and its keys are looked up;
// whatever else stands in a file is left to sops.
func loadYAML(data []byte, store sops.Store) (sops.Tree, error) {
	documents, err := parseYAML(data)
	if quoted := quoteMetadata(documents, data); quoted != nil {
		data = quoted
		documents, err = parseYAML(data)
	}
	if branch, ok := plainYAML(documents); ok && err == nil {
		branches, metadata, err := stores.ExtractMetadata(sops.TreeBranches{branch}, stores.MetadataOpts{Flatten: stores.MetadataFlattenNone})
		return sops.Tree{Branches: branches, Metadata: metadata}, err
	}
	for _, d := range documents {
		if err := boundAliases(d); err != nil {
			return sops.Tree{}, err
		}
	}
	return store.LoadEncryptedFile(data)
}

// parseYAML parses all documents of a file, or those before the first error.
func parseYAML(data []byte) (documents []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		document := new(yaml.Node)
		if err := decoder.Decode(document); errors.Is(err, io.EOF) {
			return documents, nil
		} else if err != nil {
			return documents, err
		}
		documents = append(documents, document)
	}
}

// plainYAML makes a tree of a single document without comments, anchors, aliases, merges and
// explicit tags, whose keys are strings, each once in its map; ok is false for all others.
func plainYAML(documents []*yaml.Node) (branch sops.TreeBranch, ok bool) {
	if len(documents) != 1 || documents[0].Kind != yaml.DocumentNode || !isPlain(documents[0]) || len(documents[0].Content) != 1 {
		return nil, false
	}
	value, ok := plainValue(documents[0].Content[0])
	branch, isMap := value.(sops.TreeBranch)
	return branch, ok && isMap
}

func isPlain(n *yaml.Node) bool {
	return n.HeadComment == "" && n.LineComment == "" && n.FootComment == "" && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

// Short tags of values, as the parser finds them.
const (
	stringTag  = "!!str"
	integerTag = "!!int"
	floatTag   = "!!float"
	booleanTag = "!!bool"
	nullTag    = "!!null"
	timeTag    = "!!timestamp"
)

// plainValue makes what sops's store makes of a node.
func plainValue(n *yaml.Node) (value any, ok bool) {
	if !isPlain(n) {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		return plainMap(n)
	case yaml.SequenceNode:
		var list []any // nil when empty, as in sops
		for _, item := range n.Content {
			v, ok := plainValue(item)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	case yaml.ScalarNode:
		switch n.Tag {
		case stringTag:
			return n.Value, true
		case integerTag, floatTag, booleanTag, nullTag:
			err := n.Decode(&value)
			if large, ok := value.(int64); ok { // on machines of 32 bits: sops knows no number but int
				value = strconv.FormatInt(large, 10)
			}
			return value, err == nil
		}
	case yaml.DocumentNode, yaml.AliasNode:
	}
	return nil, false
}

func plainMap(n *yaml.Node) (any, bool) {
	branch := make(sops.TreeBranch, 0, len(n.Content)/2)
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag != stringTag || !isPlain(key) || seen[key.Value] {
			return nil, false
		}
		seen[key.Value] = true
		value, ok := plainValue(n.Content[i+1])
		if !ok {
			return nil, false
		}
		branch = append(branch, sops.TreeItem{Key: key.Value, Value: value})
	}
	return branch, true
}

// quoteMetadata puts quotes around times and numbers in the metadata that stand there without, as
// some formatters leave them. Sops up to 3.12 reads them, later ones want texts. It is nil where
// there is nothing to do.
func quoteMetadata(documents []*yaml.Node, data []byte) []byte {
	var bare []*yaml.Node
	for _, d := range documents[:min(1, len(documents))] {
		for _, root := range d.Content {
			for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
				if root.Content[i].Value == "sops" {
					bare = bareTexts(root.Content[i+1], bare)
				}
			}
		}
	}
	if len(bare) == 0 {
		return nil
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i := len(bare) - 1; i >= 0; i-- { // from the end, so that columns stay right
		n := bare[i]
		line, value := lines[n.Line-1], []byte(n.Value)
		if at := n.Column - 1; at <= len(line) && bytes.HasPrefix(line[at:], value) {
			lines[n.Line-1] = slices.Concat(line[:at], []byte("'"), value, []byte("'"), line[at+len(value):])
		}
	}
	return bytes.Join(lines, nil)
}

// bareTexts finds what sops reads as texts and YAML as something else, in the order of the file.
func bareTexts(n *yaml.Node, found []*yaml.Node) []*yaml.Node {
	for i, child := range n.Content {
		// These two fields are a number and a boolean for sops, too.
		if n.Kind == yaml.MappingNode && (i%2 == 0 || n.Content[i-1].Value == "shamir_threshold" || n.Content[i-1].Value == "mac_only_encrypted") {
			continue
		}
		found = bareTexts(child, found)
	}
	if n.Kind == yaml.ScalarNode && n.Style == 0 && (n.Tag == timeTag || n.Tag == integerTag || n.Tag == floatTag) {
		found = append(found, n)
	}
	return found
}
