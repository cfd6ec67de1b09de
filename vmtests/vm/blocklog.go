package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// The log that QEMU's blklogwrites driver writes (and Linux's dm-log-writes defines): a sector with
// the superblock, then for each operation a sector with its header, followed by the data of a
// write.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1
	logSector  = 512
	flagFlush  = 1
)

// LoggedDisk returns the arguments that give a machine the raw disk image file as a virtio disk
// with a serial number that the guest can tell it by, and have every write and flush of the guest
// recorded in log.
func LoggedDisk(serial, file, log string) []string {
	escape := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
	return []string{
		"-blockdev", "node-name=f" + serial + ",driver=file,filename=" + escape(file),
		"-blockdev", "node-name=l" + serial + ",driver=file,filename=" + escape(log),
		"-blockdev", fmt.Sprintf("driver=blklogwrites,node-name=b%s,file=f%s,log=l%s,log-sector-size=%d",
			serial, serial, serial, logSector),
		"-device", "virtio-blk-pci,drive=b" + serial + ",serial=" + serial,
	}
}

// Write is one write of a guest.
type Write struct {
	Offset int64
	Data   []byte
}

// Epoch is what a guest wrote between two flushes. At a power cut any part of it may have reached
// the disk, in any order; when the next one begins, all of it has.
type Epoch []Write

// ReadLog reads the log of a LoggedDisk.
func ReadLog(file string) ([]Epoch, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var super struct {
		Magic, Version, Entries uint64
		SectorSize              uint32
	}
	if len(data) == 0 {
		return []Epoch{nil}, nil // nothing was written, not even a superblock
	}
	r := bytes.NewReader(data)
	if err := binary.Read(r, binary.LittleEndian, &super); err != nil {
		return nil, err
	}
	if super.Magic != logMagic || super.Version != logVersion || super.SectorSize != logSector {
		return nil, fmt.Errorf("log %s: not a log of writes: %+v", file, super)
	}
	epochs := []Epoch{nil}
	for at, i := int64(logSector), uint64(0); i < super.Entries; i++ {
		var header struct{ Sector, Sectors, Flags, DataLen uint64 }
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return nil, err
		}
		if err := binary.Read(r, binary.LittleEndian, &header); err != nil {
			return nil, fmt.Errorf("log %s: entry %d: %w", file, i, err)
		}
		// Forced writes (a virtio disk has none) and discards (nobody asks for them here) would need
		// rules of their own.
		if header.Flags&^flagFlush != 0 {
			return nil, fmt.Errorf("log %s: entry %d: flags %#x are not replayed", file, i, header.Flags)
		}
		at += logSector
		if header.Flags&flagFlush != 0 {
			epochs = append(epochs, nil)
		}
		if header.Sectors == 0 {
			continue
		}
		length := int64(header.Sectors) * logSector
		if at+length > int64(len(data)) {
			return nil, fmt.Errorf("log %s: entry %d: cut off", file, i)
		}
		last := len(epochs) - 1
		epochs[last] = append(epochs[last], Write{int64(header.Sector) * logSector, data[at : at+length]})
		at += length
	}
	return epochs, nil
}

// Replay goes through every state that a power cut could have left on a disk: after each prefix of
// the writes, and, for each epoch, after parts of it in any order of the disk's. Of an epoch with
// few writes all parts are taken, of every epoch as many random ones as samples says, some writes
// in them cut short at a sector. file holds the disk as it was at the beginning, and the state
// during each call of judge. States with the same content have the same key; final says that all
// flushes had been done.
func Replay(file string, epochs []Epoch, samples, unit int, random *rand.Rand,
	judge func(key [sha256.Size]byte, final bool) error,
) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	d := &replay{file: f, sectors: map[int64][]byte{}}
	if err := d.load(epochs); err != nil {
		return err
	}
	for i, epoch := range epochs {
		show := func(part Epoch) error {
			if err := d.put(part, false); err != nil {
				return err
			}
			if err := judge(d.key(part), i == len(epochs)-1); err != nil {
				return err
			}
			return d.restore(part)
		}
		for _, part := range epoch.parts(samples, unit, random) {
			if err := show(part); err != nil {
				return err
			}
		}
		for n := range epoch {
			if err := show(epoch[:n]); err != nil {
				return err
			}
		}
		if err := d.put(epoch, true); err != nil {
			return err
		}
		if err := judge(d.key(nil), i == len(epochs)-1); err != nil {
			return err
		}
	}
	return nil
}

// replay is a disk whose state changes.
type replay struct {
	file    *os.File
	sectors map[int64][]byte // what is written to at all, as it is when the current epoch begins
	order   []int64
}

func (d *replay) load(epochs []Epoch) error {
	for _, epoch := range epochs {
		for _, w := range epoch {
			for at := w.Offset; at < w.Offset+int64(len(w.Data)); at += logSector {
				if d.sectors[at] != nil {
					continue
				}
				d.sectors[at] = make([]byte, logSector)
				if _, err := d.file.ReadAt(d.sectors[at], at); err != nil {
					return err
				}
				d.order = append(d.order, at)
			}
		}
	}
	slices.Sort(d.order)
	return nil
}

// put writes to the file, and, when it is to stay, to what is known of it.
func (d *replay) put(writes Epoch, stay bool) error {
	for _, w := range writes {
		if _, err := d.file.WriteAt(w.Data, w.Offset); err != nil {
			return err
		}
		for at := 0; stay && at < len(w.Data); at += logSector {
			d.sectors[w.Offset+int64(at)] = w.Data[at : at+logSector]
		}
	}
	return nil
}

// restore takes writes back.
func (d *replay) restore(writes Epoch) error {
	for _, w := range writes {
		for at := w.Offset; at < w.Offset+int64(len(w.Data)); at += logSector {
			if _, err := d.file.WriteAt(d.sectors[at], at); err != nil {
				return err
			}
		}
	}
	return nil
}

// key is the digest of all sectors that are ever written to, with some writes done.
func (d *replay) key(writes Epoch) (key [sha256.Size]byte) {
	now := map[int64][]byte{}
	for _, w := range writes {
		for at := 0; at < len(w.Data); at += logSector {
			now[w.Offset+int64(at)] = w.Data[at : at+logSector]
		}
	}
	h := sha256.New()
	for _, at := range d.order {
		if s := now[at]; s != nil {
			h.Write(s)
		} else {
			h.Write(d.sectors[at])
		}
	}
	h.Sum(key[:0])
	return key
}

// parts are the parts of an epoch that are looked at: all of them where they are few, and random
// ones.
func (e Epoch) parts(samples, unit int, random *rand.Rand) []Epoch {
	var parts []Epoch
	if len(e) == 0 {
		return nil
	}
	if len(e) < 31 && 1<<len(e) <= samples {
		for set := range 1 << len(e) {
			var part Epoch
			for i, w := range e {
				if set>>i&1 == 1 {
					part = append(part, w)
				}
			}
			parts = append(parts, part)
		}
	}
	for range samples {
		parts = append(parts, e.sample(unit, random))
	}
	return parts
}

// sample picks a random part of the epoch, with a write cut short now and then. Two writes to one
// place stay in order: the kernel does not have both under way at once.
func (e Epoch) sample(unit int, random *rand.Rand) Epoch {
	var part Epoch
	share := random.Float64()
	for _, w := range e {
		if random.Float64() >= share {
			continue
		}
		if units := len(w.Data) / unit; units > 1 && random.IntN(4) == 0 {
			w.Data = w.Data[:random.IntN(units)*unit]
		}
		part = append(part, w)
	}
	return part
}
