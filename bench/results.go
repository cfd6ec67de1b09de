package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// resultFile is where what came of a case is kept, so that one case can be measured again without all others.
func (b *bench) resultFile(name string) string {
	return filepath.Join(b.build, "results", name+".json")
}

// report measures the cases that match, and prints the page of all cases that were ever measured here.
func (b *bench) report(w io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(b.resultFile("")), 0o755); err != nil {
		return err
	}
	for _, c := range b.cases() {
		if !b.match.MatchString(c.name) {
			continue
		}
		r, err := b.measure(c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.resultFile(c.name), data, 0o644); err != nil {
			return err
		}
	}
	results, err := b.kept()
	if err != nil {
		return err
	}
	page, err := b.page(results)
	if err != nil {
		return err
	}
	if _, err := w.Write(page); err != nil || b.update == "" {
		return err
	}
	return update(b.update, page)
}

// kept reads the results there are, in the order of the cases.
func (b *bench) kept() ([]result, error) {
	var results []result
	for _, c := range b.cases() {
		data, err := os.ReadFile(b.resultFile(c.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var r result
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", b.resultFile(c.name), err)
		}
		results = append(results, r)
	}
	return results, nil
}
