// Package install is the order of steps of an activation: read the manifest, wait for the lock,
// decrypt and render, compare with what is live, write the new generation, switch, place the
// links, tell the units, prune. How each step is done is the business of the packages below.
//
// Each secret stands for itself. What can be installed is; what cannot keeps the file it has in
// the live generation, if it has one. Everything that went wrong is reported.
package install
