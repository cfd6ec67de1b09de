// Package initrd puts files into the initial RAM disk image that a boot loader hands to the Linux
// kernel, takes them out again, and never loses the image: after a fault, a full disk or a power
// cut it is the old one or the new one.
//
// It knows nothing of where the files come from: entries in, image out. [NewSegment] checks
// entries, [Install] puts them into an image, [Plan] says what Install would do, [Remove] gives
// the image back as it was. [Open] opens an image to say what it holds. What a certain stage 1
// expects of entries is a [Profile], which the caller passes.
//
// # Compatibility
//
// Images that this package wrote are read, replaced and cut by all later versions of it. Its Go
// API may change between minor versions before 1.0, and from then on only with a new major one;
// the changelog says how.
//
// # Image
//
// An image is
//
//	base · padding · segment
//
// The base is what the boot loader copied: any number of cpio archives, plain or compressed, or
// nothing. The padding is NULs up to the next multiple of 4, where the kernel looks for a plain
// archive (init/initramfs.c), and four more, because the kernel's decoder of lz4 takes the four
// bytes behind its last block for the size of another one (lib/decompress_unlz4.c): 4 to 7 NULs,
// right for every compressor. An image without base begins with four NULs.
//
// # Segment
//
// A segment is one plain archive in the newc format: the kernel unpacks it after the base, and a
// file in it replaces one of the base. It has no compression, no checksum fields, and is not
// longer than 4 GiB. Numbers in it are hexadecimal digits in ASCII. All times are 0, device
// numbers 0, link counts 2 for a directory and 1 for all else. The same entries give the same
// bytes on every host. In order:
//
//	entry                inode  content
//	.sops-initrd-begin   1      the marker
//	.sops-initrd-sums    2      the checksum list
//	the entries          4 …    sorted by path, parents included, without the leading slash
//	.sops-initrd-end     3      the footer
//	TRAILER!!!           0      none; 124 bytes with its padding; nothing follows
//
// The files whose names begin with .sops-initrd have mode 0400 and owner root and lie in the root
// directory of stage 1; there is never an entry for the root itself.
//
// The marker's content is 74 bytes, with a newline at the end of each line:
//
//	sops-initrd begin
//	version 00000001
//	base 0000000003938700        length of the base
//	padding 00000004             number of NULs between base and segment
//
// The checksum list has a line for each regular file, in the form of "sha256sum -c" in the root
// directory. It comes first, so that stage 1 can tell a file that was cut in half from a whole
// one: the kernel gives such a file its full size, filled up with NULs, and says nothing.
//
// The footer's content is 204 bytes:
//
//	inputs 64 digits             the caller's digest of what the segment was made from
//	sha256 64 digits             of the segment; these digits, base and padding count as "0"
//	sops-initrd end: version 00000001, length 00000000000005a8.
//
// So the sum of a segment is the same wherever it lies. The length is that of the segment.
//
// # Enclosed
//
// With [Options.Enclose] an image is four NULs and one zstd frame of stored blocks, with the
// padding and the segment of an image without base in it, and nothing else. The kernel finds it
// at any offset behind another initrd.
//
// # Other versions
//
// What stays the same in every version: the name of the first entry and the four lines that its
// content begins with; the last line of the last entry's content, directly before the trailer,
// which has these 124 bytes. So a segment of another version can be found, cut and replaced. It
// is never said to be whole, and never extracted.
//
// # Recognition
//
// [Image.Segment] reads the end of an image: trailer, footer, from there the marker, which must
// say that it lies where it lies. The copy of a segment inside somebody's file does not. A
// segment that was torn has no footer. It is recognised when its beginning is proven: by the
// base, which the caller names, or by a walk of the whole image, which finds the marker where an
// archive begins.
//
// # In place
//
// Where there is no room for a second copy, the end of the image is overwritten. Meanwhile the
// size in the marker's header begins with other digits than zeros: such a file reaches beyond the
// end of the image, so the kernel takes everything behind the marker for its content and uses
// none of it. These two digits lie in one sector, and are the first and the last that is written.
// The file does not become shorter: NULs follow a segment that took the place of a longer one.
//
// # Limits
//
// The kernel loses some entries without a word; [NewSegment] refuses them: paths from 4096 bytes,
// path elements from 256, link targets from 4096, the user and group -1, the name of the trailer.
//
// Access control lists and extended attributes of an image are not carried over when it is
// replaced.
//
// bzip2, lzma and lzo are recognised and not looked into: an image with them needs a named base.
package initrd
