// Package audit stands in for sops's package of the same name, which records in a PostgreSQL database what is decrypted, on hosts
// that ask for it in /etc/sops/audit.yaml.
package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/getsops/sops/v3/logging"
	"go.yaml.in/yaml/v3"
)

const configFile = "/etc/sops/audit.yaml"

// EncryptEvent is a file that is encrypted.
type EncryptEvent struct{ File string }

// DecryptEvent is a file that is decrypted.
type DecryptEvent struct{ File string }

// once looks at the configuration when the first event comes.
var once sync.Once

// SubmitEvent ends the program where the host wants events to be recorded, as sops does when it cannot record them.
func SubmitEvent(any) {
	once.Do(func() {
		if err := check(configFile); err != nil {
			logging.NewLogger("AUDIT").Fatal(err)
		}
	})
}

// check says what speaks against going on without a record.
func check(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var config struct {
		Backends map[string][]any `yaml:"backends"`
	}
	if err == nil {
		err = yaml.Unmarshal(data, &config)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for name, backends := range config.Backends {
		if len(backends) > 0 {
			return fmt.Errorf("%s wants decryption to be recorded (%s), which this program was built without: use the full build", file, name)
		}
	}
	return nil
}
