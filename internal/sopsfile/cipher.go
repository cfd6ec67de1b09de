package sopsfile

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/getsops/sops/v3"
)

// cipherBegin is what every encrypted value begins with.
const cipherBegin = "ENC[AES256_GCM,data:"

var errCiphertext = errors.New("not an encrypted value, or not of this key")

// valueCipher decrypts the values of one file, as sops's own cipher does. That one finds the parts
// of a value with a regular expression, which is most of the time that a large file takes, and
// expands the key anew for each value.
type valueCipher struct {
	block cipher.Block
	modes map[int]cipher.AEAD // by the length of the nonce: sops writes 32 bytes, and takes what it finds
}

func newCipher(key []byte) (*valueCipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("the data key has a length that no data key has")
	}
	return &valueCipher{block, make(map[int]cipher.AEAD)}, nil
}

// Encrypt is not needed here.
func (*valueCipher) Encrypt(any, []byte, string) (string, error) {
	return "", errors.New("not a cipher for encryption")
}

// Decrypt decrypts a value with the key that the cipher was made for. The place of the value is
// authenticated with it.
func (c *valueCipher) Decrypt(ciphertext string, _ []byte, place string) (any, error) {
	if ciphertext == "" { // sops does not encrypt the empty string
		return "", nil
	}
	data, nonce, kind, ok := parts(ciphertext)
	if !ok {
		return nil, errCiphertext
	}
	mode, err := c.mode(len(nonce))
	if err != nil {
		return nil, errCiphertext
	}
	plain, err := mode.Open(data[:0], nonce, data, []byte(place))
	if err != nil {
		return nil, errCiphertext
	}
	return typed(kind, plain)
}

func (c *valueCipher) mode(nonceSize int) (cipher.AEAD, error) {
	mode := c.modes[nonceSize]
	if mode == nil {
		var err error
		if mode, err = cipher.NewGCMWithNonceSize(c.block, nonceSize); err != nil {
			return nil, err
		}
		c.modes[nonceSize] = mode
	}
	return mode, nil
}

// parts takes ENC[AES256_GCM,data:…,iv:…,tag:…,type:…] apart. The tag stands behind the data, as
// GCM wants it. Sops looks at the first line only, and at nothing behind the last bracket in it.
func parts(ciphertext string) (data, nonce []byte, kind string, ok bool) {
	line, _, _ := strings.Cut(ciphertext, "\n")
	rest, begins := strings.CutPrefix(line, cipherBegin)
	text, rest, hasNonce := strings.Cut(rest, ",iv:")
	nonceText, rest, hasTag := strings.Cut(rest, ",tag:")
	tag, rest, hasType := strings.Cut(rest, ",type:")
	end := strings.LastIndexByte(rest, ']')
	if !begins || !hasNonce || !hasTag || !hasType || end < 1 || text == "" || nonceText == "" || tag == "" {
		return nil, nil, "", false
	}
	data = make([]byte, base64.StdEncoding.DecodedLen(len(text))+base64.StdEncoding.DecodedLen(len(tag)))
	n, err := base64.StdEncoding.Decode(data, []byte(text))
	m, tagErr := base64.StdEncoding.Decode(data[n:], []byte(tag))
	nonce, nonceErr := base64.StdEncoding.DecodeString(nonceText)
	return data[:n+m], nonce, rest[:end], errors.Join(err, tagErr, nonceErr) == nil
}

// typed makes of a plaintext the value that sops makes of it. Errors do not quote it.
func typed(kind string, plain []byte) (value any, err error) {
	text := unsafe.String(unsafe.SliceData(plain), len(plain)) // nobody changes it any more; it may have many megabytes
	switch kind {
	case "str":
		return text, nil
	case "comment":
		return sops.Comment{Value: text}, nil
	case "int":
		var n int64
		if n, err = strconv.ParseInt(text, 10, 64); err == nil && n != int64(int(n)) {
			return strconv.FormatInt(n, 10), nil // on machines of 32 bits: it is printed, and authenticated, as the same digits
		}
		value = int(n)
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	case "time":
		var t time.Time
		err = t.UnmarshalText(plain)
		value = t
	default: // bytes among them, which sops has a name for, but neither writes nor reads
		err = errCiphertext
	}
	if err != nil {
		return nil, errCiphertext
	}
	return value, nil
}
