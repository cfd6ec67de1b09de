package loadertest

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// copiedByStage1 is the directory that stage 1 copies to its place.
const copiedByStage1 = ".initrd-secrets/"

// trailer ends a cpio archive.
const trailer = "TRAILER!!!"

// unpack is a model of what the kernel makes of an initrd buffer (init/initramfs.c): files by path.
// What it stumbles over ends it, silently or not; what came before stays. Archives are plain newc
// or zstd, which is what occurs here.
func unpack(buffer []byte) map[string]string {
	files, _ := unpackAll(buffer)
	return files
}

// unpackAll also has the contents that a later archive replaced.
func unpackAll(buffer []byte) (files map[string]string, contents []string) {
	files = make(map[string]string)
	put := func(name, content string) {
		files[name] = content
		contents = append(contents, content)
	}
	walk(buffer, put)
	return files, contents
}

func walk(buffer []byte, put func(name, content string)) {
	for at := 0; at < len(buffer); {
		switch {
		case buffer[at] == 0:
			at++
		case at%4 == 0 && bytes.HasPrefix(buffer[at:], []byte("0707")):
			n, ok := unpackArchive(buffer[at:], put)
			if !ok {
				return
			}
			at += n
		case len(buffer)-at >= 4 && binary.LittleEndian.Uint32(buffer[at:]) == 0xFD2FB528:
			n := frameSize(buffer[at:])
			if n == 0 {
				return
			}
			inner, err := decompress(buffer[at : at+n])
			if err != nil {
				return
			}
			for i := 0; i < len(inner); {
				if inner[i] == 0 {
					i++
					continue
				}
				k, ok := unpackArchive(inner[i:], put)
				if !ok {
					return
				}
				i += k
			}
			at += n
		default:
			return
		}
	}
}

// unpackArchive unpacks one newc archive and says how long it is. A file that is cut off exists in
// its full size, with NULs.
func unpackArchive(data []byte, put func(name, content string)) (size int, ok bool) {
	const header = 110
	for at := 0; ; {
		if len(data)-at < header || string(data[at:at+6]) != "070701" {
			return at, false
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(data[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				return -1
			}
			return int(n)
		}
		mode, length, nameLength := field(1), field(6), field(11)
		if mode < 0 || length < 0 || nameLength < 1 || len(data)-at < header+nameLength {
			return at, false
		}
		name := string(data[at+header : at+header+nameLength-1])
		body := align(at + header + nameLength)
		at = align(body + length)
		if name == trailer {
			return min(at, len(data)), true
		}
		if mode&0o170000 == 0o100000 {
			content := make([]byte, length)
			if body < len(data) {
				copy(content, data[body:])
			}
			put(strings.TrimPrefix(name, "/"), string(content))
		}
		if at > len(data) {
			return len(data), false
		}
	}
}

func align(n int) int { return (n + 3) &^ 3 }

// frameSize is the length of the zstd frame at the beginning of data (RFC 8878, 3.1.1), 0 when it
// is cut off.
func frameSize(data []byte) int {
	d := data[4]
	at := 5
	single := d>>5&1 == 1
	if !single {
		at++
	}
	at += []int{0, 1, 2, 4}[d&3]
	if size := []int{0, 2, 4, 8}[d>>6]; size > 0 || single {
		at += max(size, 1)
	}
	for last := false; !last; {
		if len(data)-at < 3 {
			return 0
		}
		block := int(data[at]) | int(data[at+1])<<8 | int(data[at+2])<<16
		last = block&1 == 1
		n := block >> 3
		if block>>1&3 == 1 {
			n = 1 // one byte, repeated
		}
		at += 3 + n
	}
	if d>>2&1 == 1 {
		at += 4
	}
	if at > len(data) {
		return 0
	}
	return at
}

func decompress(frame []byte) ([]byte, error) {
	dec, err := zstd.NewReader(bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return io.ReadAll(dec)
}

// secretsIn are the files that stage 1 copies to their places, by the place.
func secretsIn(files map[string]string) map[string]string {
	secrets := make(map[string]string)
	for name, content := range files {
		if place, ok := strings.CutPrefix(name, copiedByStage1); ok {
			secrets["/"+place] = content
		}
	}
	return secrets
}
