package sopsfile

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
)

// sopsDecrypt is what sops's own cipher says. It panics on the type bytes, which it never writes.
func sopsDecrypt(ciphertext string, key []byte, place string) (value any, err error) {
	err = guard(func() (err error) {
		value, err = aes.NewCipher().Decrypt(ciphertext, key, place)
		return err
	})
	return value, err
}

// sameAsSops compares both ciphers.
func sameAsSops(t *testing.T, ciphertext string, key []byte, place string) {
	t.Helper()
	want, wantErr := sopsDecrypt(ciphertext, key, place)
	c, err := newCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decrypt(ciphertext, key, place)
	if n, isInt := got.(string); isInt && strings.Contains(ciphertext, "type:int]") && math.MaxInt == math.MaxInt32 && wantErr != nil {
		t.Logf("a number of more than 31 bits: %s", n)
		return
	}
	if (err == nil) != (wantErr == nil) {
		t.Errorf("%.300q at %q: error %v, sops %v", ciphertext, place, err, wantErr)
		return
	}
	nan := func(v any) bool { f, ok := v.(float64); return ok && math.IsNaN(f) }
	if err == nil && !reflect.DeepEqual(got, want) && !(nan(got) && nan(want)) {
		t.Errorf("%.300q at %q: %#v, sops %#v", ciphertext, place, got, want)
	}
}

// samples are values of all types.
func samples() []any {
	return []any{
		"a", "", "two\nlines", "\x00\xff", "ENC[", strings.Repeat("x", 100_000), "0123", "true",
		0, -1, 12345, math.MaxInt32, math.MinInt32, int64max(), 0.0, 1.5, -1e300, math.SmallestNonzeroFloat64, math.Inf(1), math.NaN(),
		true, false, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)),
		sops.Comment{Value: "a comment"},
		sops.Comment{Value: "a\nb"},
	}
}

func int64max() int { return math.MaxInt }

func testKey() []byte { return bytes.Repeat([]byte{7}, 32) }

func encrypted(t testing.TB, value any, place string) string {
	t.Helper()
	text, err := aes.NewCipher().Encrypt(value, testKey(), place)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The cipher says what sops's own says, of every type, and of whatever else a file may have in the
// place of a value.
func TestCipher_asSops(t *testing.T) {
	t.Parallel()
	for _, value := range samples() {
		text := encrypted(t, value, "a:b:")
		sameAsSops(t, text, testKey(), "a:b:")
		sameAsSops(t, text, testKey(), "a:c:")
		sameAsSops(t, text, bytes.Repeat([]byte{8}, 32), "a:b:")
	}
	good := encrypted(t, "value", "a:")
	number := encrypted(t, "12", "a:")
	for _, types := range []string{"str", "int", "float", "bool", "time", "comment", "none", "", "str]", "str,type:str", "str\n"} {
		for _, text := range []string{good, number, encrypted(t, "True", "a:"), encrypted(t, "2026-01-02T03:04:05Z", "a:"), encrypted(t, "99999999999999999999", "a:"), encrypted(t, "+1_0", "a:")} {
			sameAsSops(t, strings.Replace(text, "type:str", "type:"+types, 1), testKey(), "a:")
		}
	}
	for _, text := range []string{
		"ENC[]", "ENC[AES256_GCM,data:,iv:,tag:,type:]", "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]", "plain", " " + good, good + "x", good + "\n" + good,
		strings.TrimSuffix(good, "]"), strings.Replace(good, "]", "\n]", 1), strings.Replace(good, ",iv:", ",iv:,iv:", 1), strings.Replace(good, ",tag:", ",iv:AAAA,tag:", 1),
		strings.Replace(good, "data:", "data:\r", 1), strings.Replace(good, "data:", "data:\n", 1), strings.Replace(good, "data:", "data:=", 1),
		strings.Replace(good, ",iv:", " ,iv:", 1), strings.Replace(good, ",tag:", "\r,tag:", 1), strings.Replace(good, "AES256_GCM", "AES128_GCM", 1),
		strings.Replace(good, ",type:", ",TYPE:", 1), strings.ReplaceAll(good, "=", ""), good + "]", good[:len(good)/2], strings.ToLower(good),
		strings.Replace(good, "data:", "data:,iv:AA==,tag:AA==,type:str]", 1),
	} {
		sameAsSops(t, text, testKey(), "a:")
	}
	for i := range good {
		sameAsSops(t, good[:i]+good[i+1:], testKey(), "a:")
		sameAsSops(t, good[:i]+"A"+good[i+1:], testKey(), "a:")
		sameAsSops(t, good[:i]+",iv:"+good[i:], testKey(), "a:")
	}
}

// A number that this machine has no integer for is its digits, and what authenticates it is the
// same.
func TestCipher_largeNumber(t *testing.T) {
	t.Parallel()
	text := strings.Replace(encrypted(t, "3000000000", "a:"), "type:str", "type:int", 1)
	c, err := newCipher(testKey())
	if err != nil {
		t.Fatal(err)
	}
	value, err := c.Decrypt(text, nil, "a:")
	if err != nil {
		t.Fatal(err)
	}
	if digits, err := sops.ToBytes(value); err != nil || string(digits) != "3000000000" {
		t.Errorf("%q, %v", digits, err)
	}
}

// FuzzCipher gives both ciphers the same texts: encrypted values that were changed, and others.
func FuzzCipher(f *testing.F) {
	for _, value := range samples() {
		f.Add(encrypted(f, value, "a:"), "a:", 0, "")
	}
	for _, kind := range []string{"int", "float", "bool", "time", "comment", "bytes"} {
		f.Add(strings.Replace(encrypted(f, "1", "a:"), "type:str", "type:"+kind, 1), "a:", 3, ",iv:")
	}
	f.Fuzz(func(t *testing.T, text, place string, at int, insert string) {
		if strings.Contains(text+insert, "bytes") {
			return // sops panics
		}
		if at >= 0 && at <= len(text) {
			text = text[:at] + insert + text[at:]
		}
		sameAsSops(t, text, testKey(), place)
		sameAsSops(t, strings.Replace(encrypted(t, place+"x", place), "type:str", "type:"+insert, 1), testKey(), place)
	})
}

func BenchmarkCipher(b *testing.B) {
	for _, size := range []int{30, 10 << 20} {
		text := encrypted(b, strings.Repeat("x", size), "a:")
		run := func(name string, cipher sops.Cipher) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := cipher.Decrypt(text, testKey(), "a:"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		own, err := newCipher(testKey())
		if err != nil {
			b.Fatal(err)
		}
		run("own", own)
		run("sops", aes.NewCipher())
	}
}
