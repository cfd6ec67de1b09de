package sopsfile

import (
	"bytes"
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// Bounds on a file, held before it is given to a parser. Whoever can change a file of a repository
// must not be able to end a run, and with it all other secrets: a stack overflow cannot be
// recovered, nor can memory that is not there.
const (
	// maxFileBytes is what becomes, in the trees that sops makes of it, many times as large.
	maxFileBytes = 64 << 20
	// maxDepth is the bound of the YAML parser; the ones for JSON and for the flat formats have none.
	maxDepth = 10_000
	// maxAliased is how many values the aliases of a YAML file may stand for.
	maxAliased = 1_000_000
	// maxFlatMetadata is how many lines of metadata a dotenv file may have: a line for each field of a
	// recipient. Sops takes them out of the file one by one, which costs the square of their number.
	maxFlatMetadata = 10_000
)

// boundJSON looks at the nesting of objects and arrays. What is no JSON is left to the parser.
func boundJSON(data []byte) error {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			end := stringEnd(data[i+1:])
			if end < 0 {
				return nil
			}
			i += 1 + end
		case '{', '[':
			if depth++; depth > maxDepth {
				return cause(fmt.Sprintf("nested deeper than %d levels", maxDepth))
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// stringEnd is where the quote stands that ends a JSON string, or -1.
func stringEnd(s []byte) int {
	for from := 0; ; {
		n := bytes.IndexByte(s[from:], '"')
		if n < 0 {
			return -1
		}
		at := from + n
		slashes := at - len(bytes.TrimRight(s[from:at], `\\`))
		if slashes%2 == 0 {
			return at
		}
		from = at + 1
	}
}

// boundFlat looks at the names of a flat format, in which "__map_" and "__list_" stand for nesting.
func boundFlat(data []byte) error {
	metadata := 0
	for line := range bytes.Lines(data) {
		name, _, _ := bytes.Cut(line, []byte("="))
		if bytes.Count(name, []byte("__map_"))+bytes.Count(name, []byte("__list_")) > maxDepth {
			return cause(fmt.Sprintf("nested deeper than %d levels", maxDepth))
		}
		if bytes.HasPrefix(name, []byte("sops_")) {
			if metadata++; metadata > maxFlatMetadata {
				return cause(fmt.Sprintf("more than %d lines of sops metadata", maxFlatMetadata))
			}
		}
	}
	return nil
}

// boundAliases looks at what the aliases of a YAML document stand for, with which a small file can
// be made larger than any memory, or endless.
func boundAliases(document *yaml.Node) error {
	c := counter{anchors: make(map[*yaml.Node]int)}
	if c.count(document)-c.plain > maxAliased {
		return cause(fmt.Sprintf("its aliases stand for more than %d values", maxAliased))
	}
	return nil
}

// counter counts the values of a document.
type counter struct {
	anchors map[*yaml.Node]int
	plain   int // without what aliases stand for
}

// count is how many values a node is, at most a number beyond every bound.
func (c *counter) count(n *yaml.Node) int {
	const beyond = math.MaxInt32
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if sum, known := c.anchors[n]; known {
		return sum
	}
	if n.Anchor != "" {
		c.anchors[n] = beyond // for an alias below it, which stands for itself
	}
	c.plain++
	sum := 1
	for _, child := range n.Content {
		if more := c.count(child); more < beyond-sum {
			sum += more
		} else {
			sum = beyond
		}
	}
	if n.Anchor != "" {
		c.anchors[n] = sum
	}
	return sum
}
