package vm

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Extent is a part of a disk, in bytes.
type Extent struct{ Offset, Length int64 }

func (e Extent) holds(offset int64) bool { return offset >= e.Offset && offset < e.Offset+e.Length }

// FATExtents says where on a FAT disk a file lies, with the rest of its last cluster. It may not be
// changed meanwhile.
func FATExtents(ctx context.Context, disk, name string) ([]Extent, error) {
	layout, err := readFAT(disk)
	if err != nil {
		return nil, err
	}
	// "::/name <2-17> <20>"
	out, err := Output(exec.CommandContext(ctx, "mshowfat", "-i", disk, "::"+name))
	if err != nil {
		return nil, err
	}
	var extents []Extent
	for _, match := range regexp.MustCompile(`<(\d+)(?:-(\d+))?>`).FindAllSubmatch(out, -1) {
		first, _ := strconv.ParseInt(string(match[1]), 10, 64)
		last := first
		if match[2] != nil {
			last, _ = strconv.ParseInt(string(match[2]), 10, 64)
		}
		extents = append(extents, layout.clusters(first, last))
	}
	if extents == nil {
		return nil, fmt.Errorf("extents of %s: %q", name, out)
	}
	return extents, nil
}

// FATFree lists the clusters of a FAT disk that belong to no file.
func FATFree(disk string) ([]Extent, error) {
	layout, err := readFAT(disk)
	if err != nil {
		return nil, err
	}
	table := make([]byte, layout.fatBytes)
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.ReadAt(table, layout.fat); err != nil {
		return nil, err
	}
	var free []Extent
	for cluster := int64(2); cluster < layout.count+2; cluster++ {
		var next uint32
		if layout.wide {
			next = binary.LittleEndian.Uint32(table[4*cluster:]) & 0x0fffffff
		} else {
			next = uint32(binary.LittleEndian.Uint16(table[2*cluster:]))
		}
		if next == 0 {
			free = append(free, layout.clusters(cluster, cluster))
		}
	}
	return free, nil
}

// fatLayout is what the boot sector of a FAT16 or FAT32 file system says.
type fatLayout struct {
	fat, fatBytes  int64 // the first table
	data           int64 // where cluster 2 begins
	cluster, count int64
	wide           bool // FAT32
}

func (l fatLayout) clusters(first, last int64) Extent {
	return Extent{l.data + (first-2)*l.cluster, (last - first + 1) * l.cluster}
}

func readFAT(disk string) (fatLayout, error) {
	var b [90]byte
	f, err := os.Open(disk)
	if err != nil {
		return fatLayout{}, err
	}
	defer f.Close()
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return fatLayout{}, err
	}
	word := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	double := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
	sector := word(11)
	if sector == 0 || b[13] == 0 {
		return fatLayout{}, fmt.Errorf("%s has no FAT file system", disk)
	}
	sectors, perFAT := word(19), word(22)
	if sectors == 0 {
		sectors = double(32)
	}
	if perFAT == 0 {
		perFAT = double(36)
	}
	l := fatLayout{fat: word(14) * sector, fatBytes: perFAT * sector, cluster: int64(b[13]) * sector}
	l.data = l.fat + int64(b[16])*l.fatBytes + word(17)*32
	l.count = (sectors*sector - l.data) / l.cluster
	l.wide = l.count >= 65525
	if l.count < 4085 {
		return fatLayout{}, fmt.Errorf("%s: FAT12 is not read", disk)
	}
	return l, nil
}

// Ext4Extents says where on an ext2, ext3 or ext4 disk a file lies.
func Ext4Extents(ctx context.Context, disk, name string) ([]Extent, error) {
	head, err := Output(exec.CommandContext(ctx, "dumpe2fs", "-h", disk))
	if err != nil {
		return nil, err
	}
	match := regexp.MustCompile(`Block size: +(\d+)`).FindSubmatch(head)
	if match == nil {
		return nil, fmt.Errorf("%s: no block size", disk)
	}
	size, _ := strconv.ParseInt(string(match[1]), 10, 64)
	out, err := Output(exec.CommandContext(ctx, "debugfs", "-R", "blocks "+name, disk))
	if err != nil {
		return nil, err
	}
	var extents []Extent
	for word := range strings.FieldsSeq(string(out)) {
		block, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("blocks of %s: %q", name, out)
		}
		extents = append(extents, Extent{block * size, size})
	}
	if extents == nil {
		return nil, fmt.Errorf("blocks of %s: none", name)
	}
	return extents, nil
}
