// Package manifest reads and checks the JSON documents that the NixOS module writes: what to
// decrypt with which keys, and where to put it.
//
// There is one schema for activation (manifest.json, manifest-for-users.json) and for the initrd
// (manifest-initrd.json); each program reads the part that concerns it. What comes out of this
// package is checked: modes are numbers, formats are known, names and paths are clean, entries
// belong to secrets and templates that exist. Checking looks at nothing but the document: no file
// is opened, no user is looked up. Placeholders are not looked at: a manifest may have those of
// secrets of another one.
//
// Fields that are not known are ignored, because the module dumps every option of a secret;
// values that are wrong are errors that name the field, all of them at once.
//
// A document with "version": 1 is written by this project's module. One without a version means
// what it means to Mic92/sops-nix: of dotenv and INI files always the whole file, whatever "key"
// says.
package manifest
