package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// resultFile is where what came of a case is kept, so that one case can be measured again without
// all others.
func (b *bench) resultFile(name string) string {
	return filepath.Join(b.build, "results", name+".json")
}

// report measures the cases that match, those that take minutes last, and prints the page of all
// cases that were ever measured here. A case that fails, or for which there is no time any more,
// keeps the result of an earlier run; the page is written nevertheless, and the error joins what
// went wrong.
func (b *bench) report(w io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(b.resultFile("")), 0o755); err != nil {
		return err
	}
	var errs []error
	for _, long := range []bool{false, true} {
		for _, c := range b.cases() {
			if c.long != long || !b.match.MatchString(c.name) {
				continue
			}
			if err := b.measureAndKeep(c); err != nil {
				err = fmt.Errorf("case %s: %w", c.name, err)
				b.tell("%v", err)
				errs = append(errs, err)
			}
		}
	}
	results, err := b.kept()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	page, err := b.page(results)
	if err == nil {
		_, err = w.Write(page)
	}
	if err == nil && b.update != "" {
		err = update(b.update, page)
	}
	b.tell("done")
	return errors.Join(append(errs, err)...)
}

// measureAndKeep measures a case and keeps its result.
func (b *bench) measureAndKeep(c benchCase) error {
	if time.Now().After(b.deadline) {
		return errOver
	}
	r, err := b.measure(c)
	// Where images are large there are many.
	if err := errors.Join(err, os.RemoveAll(b.images())); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// A run that is killed leaves the result whole, the old or the new one.
	unfinished := b.resultFile(c.name) + ".new"
	if err := os.WriteFile(unfinished, data, 0o644); err != nil {
		return err
	}
	return os.Rename(unfinished, b.resultFile(c.name))
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
