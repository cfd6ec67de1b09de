package sopsfile

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/getsops/sops/v3"

	"github.com/sops-initrd/sops-initrd/internal/keyring"
)

// Plain is a decrypted file. It is not safe for concurrent use.
type Plain struct {
	file     *File
	branches sops.TreeBranches
	index    index
}

// Decrypt decrypts the file and checks its message authentication code. Programs and key services
// are waited for as the ring says. What came of each recipient is told on success too. When no key
// fits the error is a *NoKeyError.
func (f *File) Decrypt(ctx context.Context, ring *keyring.Ring) (*Plain, []Attempt, error) {
	key, attempts, err := f.dataKey(ctx, ring)
	if err != nil {
		return nil, attempts, err
	}
	tree := f.tree
	tree.Branches = clone(f.tree.Branches)
	values, err := newCipher(key)
	if err != nil {
		return nil, attempts, err
	}
	c := &checkedCipher{Cipher: values}
	var computed string
	err = guard(func() (err error) {
		computed, err = tree.Decrypt(key, c)
		return err
	})
	if err != nil {
		return nil, attempts, c.explain(err)
	}
	stored, err := values.Decrypt(tree.Metadata.MessageAuthenticationCode, nil, tree.Metadata.LastModified.Format(time.RFC3339))
	mac, isText := stored.(string)
	switch {
	case err != nil || !isText:
		return nil, attempts, errors.New("its message authentication code, or lastmodified in the sops metadata, was changed")
	case subtle.ConstantTimeCompare([]byte(mac), []byte(computed)) != 1:
		return nil, attempts, errors.New("its message authentication code does not fit: values were added, removed or changed without sops")
	}
	return &Plain{f, tree.Branches, make(index)}, attempts, nil
}

// checkedCipher remembers where decryption failed, without what.
type checkedCipher struct {
	sops.Cipher
	fault error
}

func (c *checkedCipher) Decrypt(ciphertext string, key []byte, path string) (any, error) {
	var plain any
	err := guard(func() (err error) {
		plain, err = c.Cipher.Decrypt(ciphertext, key, path)
		return err
	})
	if err != nil {
		c.fault = fault(ciphertext, path)
		return nil, err
	}
	return plain, nil
}

// explain replaces the error of a walk over a tree, which may quote values. The walk ends with the
// first value that cannot be decrypted, but goes on behind a comment.
func (c *checkedCipher) explain(err error) error {
	if c.fault != nil && strings.Contains(err.Error(), "Could not decrypt value") {
		return c.fault
	}
	return errors.New("a value that should be encrypted is not (a number or a boolean in plain text)")
}

// fault says what is wrong with the value at a path, which sops writes as "a:b:".
func fault(ciphertext, path string) error {
	key := strings.ReplaceAll(strings.TrimSuffix(path, ":"), ":", "/")
	if strings.HasPrefix(ciphertext, "ENC[") && strings.HasSuffix(ciphertext, "\r") {
		return fmt.Errorf("key %q: its line ends with CR LF (dos2unix mends that)", key)
	}
	if !strings.HasPrefix(ciphertext, "ENC[") {
		return fmt.Errorf("key %q: the value is not encrypted, but should be", key)
	}
	return fmt.Errorf("key %q: the value was changed, or moved from another key, without sops", key)
}

// clone copies a tree as deep as decryption changes it.
func clone(branches sops.TreeBranches) sops.TreeBranches {
	copied := make(sops.TreeBranches, len(branches))
	for i, b := range branches {
		copied[i] = cloneValue(b).(sops.TreeBranch)
	}
	return copied
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case sops.TreeBranch:
		copied := make(sops.TreeBranch, len(v))
		for i, item := range v {
			copied[i] = sops.TreeItem{Key: item.Key, Value: cloneValue(item.Value)}
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = cloneValue(item)
		}
		return copied
	default:
		return v
	}
}
