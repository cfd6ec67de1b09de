package sshkey

import "strings"

// bech32Alphabet and bech32Generator are those of BIP 173.
const bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// encodeBech32 writes data as a Bech32 string (BIP 173) in lower case, without the length limit, as
// age does (age's specification, "Bech32 encoding").
func encodeBech32(prefix string, data []byte) string {
	words := regroup(data)
	checked := make([]byte, 0, 2*len(prefix)+1+len(words)+6)
	for i := range len(prefix) {
		checked = append(checked, prefix[i]>>5)
	}
	checked = append(checked, 0)
	for i := range len(prefix) {
		checked = append(checked, prefix[i]&31)
	}
	checked = append(checked, words...)
	sum := bech32Checksum(append(checked, make([]byte, 6)...)) ^ 1
	for i := range 6 {
		words = append(words, byte(sum>>(5*(5-i)))&31)
	}
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteByte('1')
	for _, w := range words {
		b.WriteByte(bech32Alphabet[w])
	}
	return b.String()
}

// regroup cuts bytes into groups of five bits, the last one filled up with zeros.
func regroup(data []byte) []byte {
	words := make([]byte, 0, (len(data)*8+4)/5)
	var acc, bits uint
	for _, b := range data {
		acc, bits = acc<<8|uint(b), bits+8
		for bits >= 5 {
			bits -= 5
			words = append(words, byte(acc>>bits)&31)
		}
	}
	if bits > 0 {
		words = append(words, byte(acc<<(5-bits))&31)
	}
	return words
}

func bech32Checksum(words []byte) uint32 {
	generator := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	sum := uint32(1)
	for _, w := range words {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(w)
		for i, g := range generator {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	return sum
}
