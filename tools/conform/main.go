// Conform checks implementations of the 28 modules against their specification.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitMisuse = 2
)

type commands struct {
	Check      checkCommand      `cmd:"" help:"Hold an implementation to every requirement."`
	Replay     replayCommand     `cmd:"" help:"Replay recordings or vectors."`
	Bench      benchCommand      `cmd:"" help:"Time the page's rows."`
	Serve      serveCommand      `cmd:"" help:"Answer for one of our implementations over the protocol."`
	Export     exportCommand     `cmd:"" help:"Write the vectors of every requirement, for other languages."`
	Audit      auditCommand      `cmd:"" help:"Judge the page's claims on a model, by what was measured."`
	Perplexity perplexityCommand `cmd:"" help:"Judge a language model by a text."`
	List       listCommand       `cmd:"" help:"List modules, requirements or rows."`
}

// A session is what a command runs with.
type session struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
}

// errFailed ends a command whose verdict, already printed, is a failure.
var errFailed = errors.New("failed")

// A misuse is an error of whoever typed the command: it exits with 2.
type misuse struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	exited := -1
	parser := kong.Must(&commands{},
		kong.Name("conform"),
		kong.Description("Conform checks implementations of the 28 modules against their specification."),
		kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(code int) { exited = code; panic(exitRequest{}) }))
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitRequest); !ok {
				panic(r)
			}
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parse(parser, args)
	if exited >= 0 {
		return exited
	}
	if err == nil {
		if wrong := fast.CheckSIMD(); wrong != nil {
			err = misuse{wrong}
		}
	}
	if err == nil {
		err = command.Run(&session{ctx, stdin, stdout, stderr})
	}
	var wrong misuse
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, "conform:", err)
		return exitMisuse
	default:
		fmt.Fprintln(stderr, "conform:", err)
		return exitFailed
	}
}

// exitRequest is what kong's help ends the parsing with.
type exitRequest struct{}

// parse parses the command line. Its errors are misuse.
func parse(parser *kong.Kong, args []string) (command *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitRequest); !ok {
				panic(r)
			}
		}
	}()
	command, err = parser.Parse(args)
	if err != nil {
		return nil, misuse{err}
	}
	return command, nil
}

// implementations are our own, in the order in which they are run.
var implementations = []struct {
	name string
	make func() spec.Implementation
}{{"ref", ref.Implementation}, {"fast", fast.Implementation}}

// ours embeds the choice among our implementations.
type ours struct {
	Impl []string `help:"Implementations to run: ref, fast (default both)." enum:"ref,fast" placeholder:"NAME"`
}

func (o ours) selected() []spec.Implementation {
	var list []spec.Implementation
	for _, own := range implementations {
		if contains(o.Impl, own.name) {
			list = append(list, own.make())
		}
	}
	return list
}

// create makes a file to write to; "-" is standard output. A file that cannot be
// made is misuse.
func (s *session) create(path string) (io.WriteCloser, error) {
	if path == "-" {
		return nopCloser{s.stdout}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, misuse{err}
	}
	return f, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
