// Package initrdsecrets is what a boot loader's installer calls: it brings the secrets of an
// initrd manifest into an image.
//
// It joins three packages that know nothing of each other: manifest says what goes where,
// resolve has the values, initrd changes the image. What is decided here is which entries the
// image gets, when a run that cannot decrypt may keep what is there (salvage), and what the
// user is told.
//
// Everything is decrypted and built in memory before an image is touched. When anything fails,
// the image is what it was.
package initrdsecrets
