package units

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sops-initrd/sops-initrd/internal/manifest"
)

func TestAffected(t *testing.T) {
	t.Parallel()
	got := Affected([]manifest.Placement{
		{RestartUnits: []string{"b.service", "a.service"}, ReloadUnits: []string{"c.service"}},
		{},
		{RestartUnits: []string{"a.service"}, ReloadUnits: []string{"c.service", "b.service"}},
	}).Union(Sets{Restart: []string{"0.service", "a.service"}})
	want := Sets{Restart: []string{"0.service", "a.service", "b.service"}, Reload: []string{"b.service", "c.service"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Empty() || !Affected(nil).Empty() || (Sets{Reload: []string{"x"}}).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestWriteLists(t *testing.T) {
	t.Parallel()
	sets := Sets{Restart: []string{"a.service", "b.service"}, Reload: []string{"c.service"}}
	for dry, prefix := range map[bool]string{false: "activation", true: "dry-activation"} {
		dir := t.TempDir()
		restart, reload := filepath.Join(dir, prefix+"-restart-list"), filepath.Join(dir, prefix+"-reload-list")
		if err := os.WriteFile(restart, []byte("other.service\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := WriteLists(dir, dry, sets); err != nil {
			t.Fatal(err)
		}
		for file, want := range map[string]string{restart: "other.service\na.service\nb.service\n", reload: "c.service\n"} {
			got, err := os.ReadFile(file)
			if err != nil || string(got) != want {
				t.Errorf("%s: %q (%v)", file, got, err)
			}
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 2 {
			t.Errorf("%v", entries)
		}
	}
}

func TestWriteLists_nothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := WriteLists(dir, false, Sets{}); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("empty lists were made: %v", entries)
	}
	missing := filepath.Join(dir, "nixos")
	if err := WriteLists(missing, false, Sets{Restart: []string{"a"}}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the directory was made")
	}
}

func TestSystemctl(t *testing.T) {
	t.Parallel()
	failure := errors.New("exit status 5")
	for _, c := range []struct {
		name string
		sets Sets
		err  error
		want []string
	}{
		{"nothing", Sets{}, nil, nil},
		{"restart", Sets{Restart: []string{"a", "b"}}, nil, []string{"--no-block try-restart -- a b"}},
		{"reload", Sets{Reload: []string{"a"}}, nil, []string{"--no-block try-reload-or-restart -- a"}},
		{"restart covers reload", Sets{Restart: []string{"a"}, Reload: []string{"a", "b"}}, nil, []string{
			"--no-block try-restart -- a", "--no-block try-reload-or-restart -- b",
		}},
		{"only covered", Sets{Restart: []string{"a"}, Reload: []string{"a"}}, nil, []string{"--no-block try-restart -- a"}},
		{
			"looks like an option",
			Sets{Restart: []string{"*x", "--root=/x", "-.mount"}},
			nil,
			[]string{"--no-block try-restart -- *x --root=/x -.mount"},
		},
		{"failure does not stop the rest", Sets{Restart: []string{"a"}, Reload: []string{"b"}}, failure, []string{
			"--no-block try-restart -- a", "--no-block try-reload-or-restart -- b",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var calls []string
			err := Systemctl(t.Context(), func(_ context.Context, args ...string) error {
				calls = append(calls, strings.Join(args, " "))
				return c.err
			}, c.sets)
			if !errors.Is(err, c.err) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(c.want, calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}
