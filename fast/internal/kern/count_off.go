//go:build !counted

package kern

const counting = false
