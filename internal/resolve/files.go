package resolve

import (
	"sync"

	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

// Files reads sops files once and keeps them, or what is wrong with them. A digest of the
// inputs and the values then come from the same content, whatever happens to a file meanwhile.
// The zero value is ready for use, also from several goroutines.
type Files struct {
	mu    sync.Mutex
	known map[place]func() (*sopsfile.File, error)
}

func (f *Files) open(at place) (*sopsfile.File, error) {
	f.mu.Lock()
	open := f.known[at]
	if open == nil {
		open = sync.OnceValues(func() (*sopsfile.File, error) {
			return sopsfile.Open(at.path,
				at.format)
		})
		if f.known == nil {
			f.known = make(map[place]func() (*sopsfile.File, error))
		}
		f.known[at] = open
	}
	f.mu.Unlock() // other files are read at the same time
	return open()
}

func (req Request) files() *Files {
	if req.Files == nil {
		return new(Files)
	}
	return req.Files
}
