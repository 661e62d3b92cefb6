package main

import (
	"strings"
	"time"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/adapter"
)

// theirs embeds the choice of an adapter in place of our implementations.
type theirs struct {
	Timeout  time.Duration `help:"Time that a call may take." default:"10s"`
	Validate bool          `help:"Hold every frame of the adapter, both ways, to the protocol's schema."`
	Command  []string      `arg:"" optional:"" help:"After --, an adapter and its arguments: a program that speaks the protocol (PROTOCOL.md)." placeholder:"CMD"`
}

// A subject is an implementation to run: one of ours, or an adapter.
type subject struct {
	spec.Implementation
	process *adapter.Process // nil for ours
	timeout time.Duration
}

// subjects returns what a command is to run, and what ends it. An adapter that does
// not answer is misuse: nothing was run.
func (s *session) subjects(o ours, t theirs) (list []subject, end func(), err error) {
	if t.Timeout <= 0 {
		return nil, nil, misuse{spec.Reject(spec.Invalid, "conform", "--timeout", "a time above 0", t.Timeout)}
	}
	if len(t.Command) == 0 {
		for _, impl := range o.selected() {
			list = append(list, subject{Implementation: impl, timeout: t.Timeout})
		}
		return list, func() {}, nil
	}
	if len(o.Impl) > 0 {
		return nil, nil, misuse{spec.Reject(spec.Invalid, "conform", "--impl", "either our implementation or a command", "both")}
	}
	own, err := s.adapter(t.Command, adapter.Options{Timeout: t.Timeout, Validate: t.Validate})
	if err != nil {
		return nil, nil, err
	}
	return []subject{own}, func() { own.process.Close() }, nil
}

// adapter starts an adapter, and has it answer once.
func (s *session) adapter(command []string, options adapter.Options) (subject, error) {
	p, err := adapter.Start(s.ctx, command, options)
	if err == nil {
		if err = p.Smoke(); err == nil {
			return subject{p.Implementation(), p, patience * options.Timeout}, nil
		}
		p.Close()
	}
	return subject{}, misuse{err}
}

// The time-out of an adapter's call is the adapter's own, which says what was read.
// The suite's is behind it, for calls that wait for each other's turn.
const patience = 60

// arguments are what chooses a subject on the command line.
func (s *subject) arguments(t theirs) (before, after string) {
	if s.process == nil {
		return " --impl " + s.Name, ""
	}
	return "", " -- " + shellQuoted(t.Command)
}

// shellQuoted is a command as a shell reads it.
func shellQuoted(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = word
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%") != "" {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
