package sopsfile

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
	"github.com/sops-initrd/sops-initrd/internal/manifest"
	"github.com/sops-initrd/sops-initrd/internal/test/testkeys"
)

// Whatever stands in a file and whatever key is asked for: no panic, short errors, and with and
// without keys the same answer to whether there is such a value.
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
	for i, text := range []string{
		"a: " + strings.Repeat("[", 20_000), "a: null\nsops: null\n", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
		strings.Repeat(`{"a":`, 20_000), `{"a": 1e999999999, "sops": {"version": 3, "age": [null]}}`,
		"sops_age__list_99999999__map_enc=x\na=b\n", "[sops]\nage__list_99999999__map_enc=x\n", "\r\n=\r\n",
	} {
		for format := range formats {
			f.Add([]byte(text), uint8(format), "a")
			f.Add([]byte(text), uint8(format), strings.Repeat("a/", 1000*i))
		}
	}
	ring := ringOf(f, testkeys.SSHEd25519)
	f.Fuzz(func(t *testing.T, data []byte, format uint8, key string) {
		probe(t, ring, data, formats[int(format)%len(formats)], key)
	})
}

// probe reads a file and asks for a key, and says whether it got to a decrypted file.
func probe(t *testing.T, ring *keyring.Ring, data []byte, format manifest.Format, key string) bool {
	t.Helper()
	file, err := Parse("f", data, format)
	if err != nil {
		if len(err.Error()) > 200 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
		return false
	}
	sealed, err := file.Seal()
	if err != nil {
		return false
	}
	hasErr := sealed.Has(key)
	if err := sealed.Write(new(bytes.Buffer), key); (err == nil) != (hasErr == nil) && key != "" {
		t.Errorf("has: %v, write: %v", hasErr, err)
	}
	plain, _, err := file.Decrypt(context.Background(), ring)
	if err != nil {
		return false
	}
	if _, err := plain.Value(key); hasErr != nil && err == nil {
		t.Errorf("there is a value, and without keys: %v", hasErr)
	}
	return true
}

// The same for some thousand small changes to real files, in the time of a test.
func TestParse_mutations(t *testing.T) {
	t.Parallel()
	ring := ringOf(t, testkeys.SSHEd25519)
	random := rand.New(rand.NewPCG(1, 2))
	const special = "\n\t\"':#{}[]=,&*!|>%@\\\x00 "
	for _, name := range []string{"secrets.yaml", "secrets.json", "secrets.env", "secrets.ini", "secrets.bin"} {
		original := []byte(read(t, "testdata/corpus/v3.13.3/"+name))
		decrypted := 0
		for range 400 {
			data := bytes.Clone(original)
			at := random.IntN(len(data))
			switch random.IntN(5) {
			case 0: // a bit
				data[at] ^= 1 << random.IntN(8)
			case 1: // an end
				data = data[:at]
			case 2: // a piece twice
				data = slices.Insert(data, at, data[at:min(len(data), at+random.IntN(300))]...)
			case 3: // a piece less
				data = slices.Delete(data, at, min(len(data), at+random.IntN(300)))
			case 4: // a character that means something
				data[at] = special[random.IntN(len(special))]
			}
			if probe(t, ring, data, formatOf(name), []string{"", "map/inner/key", "list/2", "PASSWORD", "database/port"}[random.IntN(5)]) {
				decrypted++
			}
		}
		if decrypted == 400 {
			t.Errorf("%s: nothing was changed", name)
		}
		t.Logf("%s: %d of 400 were decrypted", name, decrypted)
	}
}

// The seeds of the fuzz test get through to the values.
func TestFuzzSeeds(t *testing.T) {
	t.Parallel()
	f := open(t, "testdata/corpus/v3.13.3/secrets.json", manifest.JSON)
	if got, err := decrypt(t, f, testkeys.SSHEd25519).Value("list/2"); err != nil || len(got) == 0 {
		t.Errorf("%q, %v", got, err)
	}
}
