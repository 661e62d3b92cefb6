//go:build !unix

package adapter

import "os/exec"

func ownGroup(*exec.Cmd) {}

// killGroup kills the command itself: process groups are Unix's.
func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }
