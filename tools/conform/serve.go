package main

import (
	"github.com/squishspec/squishspec/spec/adapter"
)

type serveCommand struct {
	Impl string `help:"Implementation to serve: ref or fast (default fast)." enum:"ref,fast" placeholder:"NAME" default:"fast"`
}

func (c *serveCommand) Run(s *session) error {
	impl := ours{Impl: []string{c.Impl}}.selected()[0]
	done := make(chan error, 1)
	go func() { done <- adapter.Serve(s.stdin, s.stdout, impl) }()
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done(): // reading cannot be broken off
		return nil
	}
}
