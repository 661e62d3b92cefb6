package conformance

import (
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var visionKVFuseMutants = []mutant{
	{"vision-kv-fuse/lists", "counts a reset of both twice", func(next proxy.Handler) proxy.Handler {
		extra := 0
		return func(c *proxy.Call) error {
			err := next(c)
			if err == nil && c.Op.Name == "reset" && (c.Args[0] == spec.Both || c.Args[0] == spec.Modality("")) {
				extra++
			}
			if c.Op.Name == "stats" {
				c.Dst.(*spec.VisionKVFuseStats).Resets += extra
			}
			return err
		}
	}, ""},
	{"vision-kv-fuse/round-trip", "keeps bfloat16", before("append", func(c *proxy.Call) {
		for _, arg := range c.Args[1:] {
			m := arg.(spec.Matrix)
			roundToBfloat16(spec.Heads{Heads: 1, Tokens: 1, Dim: len(m.Data), Stride: len(m.Data), Data: m.Data})
		}
	}), ""},
	{"vision-kv-fuse/round-trip", "hands out the latest token first", onView(func(v *spec.KVView) {
		for _, x := range []spec.Heads{v.Keys, v.Values} {
			for h := range x.Heads {
				for i, j := 0, x.Tokens-1; i < j; i, j = i+1, j-1 {
					a, b := x.Head(h).Row(i), x.Head(h).Row(j)
					for e := range a {
						a[e], b[e] = b[e], a[e]
					}
				}
			}
		}
	}), ""},
	{"vision-kv-fuse/isolation", "empties both where one is reset", before("reset", func(c *proxy.Call) {
		if c.Args[0] == spec.Text || c.Args[0] == spec.Vision {
			c.Args[0] = spec.Both
		}
	}), ""},
	{"vision-kv-fuse/full", "drops all tokens to make room", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if spec.KindOf(err) == spec.Capacity {
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("reset"), Args: []any{c.Args[0]}})
				return next(c)
			}
			return err
		}
	}, ""},
	{"vision-kv-fuse/full", "drops the tokens and refuses all the same", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if spec.KindOf(err) == spec.Capacity && c.Op.Name == "append" {
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("reset"), Args: []any{c.Args[0]}})
			}
			return err
		}
	}, spec.ChangedState},
	{"vision-kv-fuse/full", "has room for one token less", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.VisionKVFuseConfig)
		config.TextCapacity--
		if config.Validate() == nil {
			c.Args[0] = config
		}
	}), spec.Rejected},
	{"vision-kv-fuse/full-kind", "calls a full store bad input", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if spec.KindOf(err) == spec.Capacity {
				return spec.Reject(spec.Invalid, "vision-kv-fuse", "append", "room", "none")
			}
			return err
		}
	}, spec.WrongKind},
	{"vision-kv-fuse/reset", "keeps the tokens of a reset", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name == "reset" {
				return nil
			}
			return next(c)
		}
	}, ""},
	{"vision-kv-fuse/reset", "clears the counts", func(next proxy.Handler) proxy.Handler {
		var cleared spec.VisionKVFuseStats
		return func(c *proxy.Call) error {
			err := next(c)
			switch c.Op.Name {
			case "reset":
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("stats"), Dst: &cleared})
				cleared.Resets = 0
			case "stats":
				s := c.Dst.(*spec.VisionKVFuseStats)
				s.TextAppends -= cleared.TextAppends
				s.VisionAppends -= cleared.VisionAppends
			}
			return err
		}
	}, ""},
	{"vision-kv-fuse/merged", "hands out vision keys of another head", after("get_kv", func(c *proxy.Call) {
		if c.Args[0] != spec.Vision {
			return
		}
		x := c.Dst.(*spec.KVView).Keys
		for h := 1; h < x.Heads; h++ {
			copy(x.Head(h).Data, x.Head(0).Data)
		}
	}), ""},
	{"vision-kv-fuse/merged", "hands out a text value twice", after("get_kv", func(c *proxy.Call) {
		x := c.Dst.(*spec.KVView).Values
		for h := range x.Heads {
			if c.Args[0] == spec.Text && x.Tokens > 1 {
				copy(x.Head(h).Row(0), x.Head(h).Row(1))
			}
		}
	}), ""},
	{"vision-kv-fuse/fused", "appends the image token where text is full", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if spec.KindOf(err) == spec.Capacity && c.Op.Name == "append_fused" {
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("append"), Args: []any{spec.Vision, c.Args[0], c.Args[1]}})
			}
			return err
		}
	}, ""},
	{"vision-kv-fuse/fused", "hands out text for vision", after("get_fused", func(c *proxy.Call) {
		v := c.Dst.(*spec.FusedKV)
		v.Text, v.Vision = v.Vision, v.Text
	}), ""},
	{"vision-kv-fuse/views", "keeps the key that it was lent", keepsKeys, spec.Aliased},
	{"vision-kv-fuse/views", "hands out one buffer for all views", func(next proxy.Handler) proxy.Handler {
		var buffer []float32
		return func(c *proxy.Call) error {
			err := next(c)
			if err == nil && c.Op.Name == "get_kv" {
				keys := &c.Dst.(*spec.KVView).Keys
				buffer = append(buffer[:0:cap(buffer)], keys.Data...)
				keys.Data = buffer
			}
			return err
		}
	}, spec.Aliased},
	{"vision-kv-fuse/stats", "answers the share of text", after("memory_ratio", func(c *proxy.Call) {
		if ratio := c.Dst.(*float64); *ratio > 0 {
			*ratio = 1 / *ratio
		}
	}), ""},
	{"vision-kv-fuse/stats", "counts image tokens as text", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.VisionKVFuseStats)
		s.TextAppends += s.VisionAppends
	}), ""},
}

// onView spoils the views of ref, which are copies.
func onView(spoil func(*spec.KVView)) proxy.Layer {
	return after("get_kv", func(c *proxy.Call) { spoil(c.Dst.(*spec.KVView)) })
}

// keepsKeys hands out what is in the memory of the keys that it was lent.
func keepsKeys(next proxy.Handler) proxy.Handler {
	lent := map[spec.Modality][]spec.Matrix{}
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil {
			return err
		}
		switch c.Op.Name {
		case "append":
			m := c.Args[0].(spec.Modality)
			lent[m] = append(lent[m], c.Args[1].(spec.Matrix))
		case "reset":
			clear(lent)
		case "get_kv":
			keys := c.Dst.(*spec.KVView).Keys
			for t, key := range lent[c.Args[0].(spec.Modality)] {
				for h := 0; h < keys.Heads && t < keys.Tokens; h++ {
					copy(keys.Head(h).Row(t), key.Row(h))
				}
			}
		}
		return nil
	}
}
