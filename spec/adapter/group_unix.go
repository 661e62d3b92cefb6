//go:build unix

package adapter

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command the leader of a process group, which what it starts
// belongs to, and which an interrupt typed at the terminal does not reach.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills a command and what it started. It has not been waited for, so
// that its number belongs to nobody else.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
