package sopsfile

import (
	"fmt"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

// traits is what the formats differ in, here.
type traits struct {
	store func(*config.StoresConfig) sops.Store
	// bound looks at the content before it is parsed; nil where the reader does it.
	bound func(data []byte) error
	// comments says that comments are a part of what is printed.
	comments bool
	// untyped says that all values are texts: a number that another format left is printed as its
	// digits.
	untyped bool
	// sections says that a map is printed as a section with its name.
	sections bool
	// single names the one value that a file of this format holds.
	single string
}

// formats has a row for each format; the linter "exhaustive" finds one that is missing.
var formats = map[manifest.Format]traits{
	manifest.YAML: {
		store:    func(c *config.StoresConfig) sops.Store { return yaml.NewStore(&c.YAML) },
		comments: true,
	},
	manifest.JSON: {
		store: func(c *config.StoresConfig) sops.Store { return json.NewStore(&c.JSON) },
		bound: boundJSON,
	},
	manifest.Binary: {
		store:  func(c *config.StoresConfig) sops.Store { return json.NewBinaryStore(&c.JSONBinary) },
		bound:  boundJSON,
		single: "data",
	},
	manifest.Dotenv: {
		store:    func(c *config.StoresConfig) sops.Store { return dotenv.NewStore(&c.Dotenv) },
		bound:    boundFlat,
		comments: true, untyped: true,
	},
	manifest.INI: {
		store:    func(c *config.StoresConfig) sops.Store { return ini.NewStore(&c.INI) },
		bound:    boundFlat,
		comments: true, untyped: true, sections: true,
	},
}

// errNotSingle says that a file does not hold the one value that it should.
func (f *File) errNotSingle() error {
	return fmt.Errorf("not %s: it has no value named %q that is a string", f.format.Title(), f.single)
}
