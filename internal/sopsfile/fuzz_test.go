package sopsfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sops-initrd/internal/manifest"
	"sops-initrd/internal/testkeys"
)

// Whatever stands in a file and whatever key is asked for: no panic, short errors, and with and without keys the same answer to
// whether there is such a value.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/corpus/v3.13.3/*")
	if err != nil {
		f.Fatal(err)
	}
	formats := []manifest.Format{manifest.YAML, manifest.JSON, manifest.Dotenv, manifest.INI, manifest.Binary}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for i, format := range formats {
			if format == formatOf(path) && !strings.HasSuffix(path, ".expected") {
				f.Add(data, uint8(i), "map/inner/key")
				f.Add(data, uint8(i), "list/2")
				f.Add(bytes.Replace(data, []byte("ENC["), []byte("ENC"), 1), uint8(i), "")
			}
		}
	}
	ring := ringOf(f, testkeys.SSHEd25519)
	f.Fuzz(func(t *testing.T, data []byte, format uint8, key string) {
		file, err := Parse("f", data, formats[int(format)%len(formats)])
		if err != nil {
			if len(err.Error()) > 200 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		sealed, err := file.Seal()
		if err != nil {
			return
		}
		hasErr := sealed.Has(key)
		var w bytes.Buffer
		if writeErr := sealed.Write(&w, key); (writeErr == nil) != (hasErr == nil) && key != "" {
			t.Errorf("has: %v, write: %v", hasErr, writeErr)
		}
		plain, _, err := file.Decrypt(context.Background(), ring, time.Second)
		if err != nil {
			return
		}
		if _, err := plain.Value(key); hasErr != nil && err == nil {
			t.Errorf("there is a value, and without keys: %v", hasErr)
		}
	})
}

// The seeds of the fuzz test get through to the values.
func TestFuzzSeeds(t *testing.T) {
	t.Parallel()
	f := open(t, "testdata/corpus/v3.13.3/secrets.json", manifest.JSON)
	if got, err := decrypt(t, f, testkeys.SSHEd25519).Value("list/2"); err != nil || len(got) == 0 {
		t.Errorf("%q, %v", got, err)
	}
}
