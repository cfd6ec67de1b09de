// Package progress carries word of what a run waits for to where people are told.
package progress

import "context"

// Reporter is told what a step is, and returns what ends it.
type Reporter func(what string) (done func())

type key struct{}

// With has the steps of a context told to r, if that is not nil.
func With(ctx context.Context, r Reporter) context.Context {
	if r == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, r)
}

// Step begins something that may take long. Without a reporter nothing happens.
func Step(ctx context.Context, what string) (done func()) {
	if r, ok := ctx.Value(key{}).(Reporter); ok {
		return r(what)
	}
	return func() {}
}
