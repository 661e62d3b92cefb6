package ref

import "github.com/squishspec/squishspec/spec"

// NewVisionKVFuse returns the reference of spec.VisionKVFuse, or an error of kind
// spec.Invalid for a config out of range. Its views are copies.
func NewVisionKVFuse(c spec.VisionKVFuseConfig) (spec.VisionKVFuse, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &visionKVFuse{config: c}, nil
}

type visionKVFuse struct {
	config       spec.VisionKVFuseConfig
	text, vision []kvToken
	stats        spec.VisionKVFuseStats
}

// A kvToken is a token's key and value, head by head.
type kvToken struct{ key, value []float32 }

func (f *visionKVFuse) Append(modality spec.Modality, key, value spec.Matrix) error {
	if err := f.config.CheckModality(modality); err != nil {
		return err
	}
	if err := f.config.CheckToken("key", key); err != nil {
		return err
	}
	if err := f.config.CheckToken("value", value); err != nil {
		return err
	}
	if f.isFull(modality) {
		return f.config.Full(modality)
	}
	f.store(modality, key, value)
	return nil
}

func (f *visionKVFuse) isFull(modality spec.Modality) bool {
	if modality == spec.Text {
		return len(f.text) == f.config.TextCapacity
	}
	return len(f.vision) == f.config.VisionCapacity
}

func (f *visionKVFuse) store(modality spec.Modality, key, value spec.Matrix) {
	token := kvToken{append([]float32(nil), key.Data...), append([]float32(nil), value.Data...)}
	if modality == spec.Text {
		f.text = append(f.text, token)
		f.stats.TextAppends++
	} else {
		f.vision = append(f.vision, token)
		f.stats.VisionAppends++
	}
}

func (f *visionKVFuse) AppendFused(visionKey, visionValue, textKey, textValue spec.Matrix) error {
	for _, token := range []struct {
		name string
		m    spec.Matrix
	}{
		{"vision_key", visionKey}, {"vision_value", visionValue}, {"text_key", textKey}, {"text_value", textValue},
	} {
		if err := f.config.CheckToken(token.name, token.m); err != nil {
			return err
		}
	}
	for _, modality := range []spec.Modality{spec.Vision, spec.Text} {
		if f.isFull(modality) {
			return f.config.Full(modality)
		}
	}
	f.store(spec.Vision, visionKey, visionValue)
	f.store(spec.Text, textKey, textValue)
	return nil
}

func (f *visionKVFuse) GetKv(dst *spec.KVView, modality spec.Modality) error {
	if err := f.config.CheckModality(modality); err != nil {
		return err
	}
	if modality == spec.Text {
		*dst = f.view(f.text)
	} else {
		*dst = f.view(f.vision)
	}
	return nil
}

func (f *visionKVFuse) GetFused(dst *spec.FusedKV) error {
	dst.Text, dst.Vision = f.view(f.text), f.view(f.vision)
	return nil
}

func (f *visionKVFuse) view(tokens []kvToken) (view spec.KVView) {
	view.Keys.Resize(f.config.NHeads, len(tokens), f.config.HeadDim)
	view.Values.Resize(f.config.NHeads, len(tokens), f.config.HeadDim)
	for h := range f.config.NHeads {
		from, to := h*f.config.HeadDim, (h+1)*f.config.HeadDim
		for t, token := range tokens {
			copy(view.Keys.Head(h).Row(t), token.key[from:to])
			copy(view.Values.Head(h).Row(t), token.value[from:to])
		}
	}
	return view
}

func (f *visionKVFuse) Reset(modality spec.Modality) error {
	if err := f.config.CheckReset(modality); err != nil {
		return err
	}
	if modality != spec.Vision {
		f.text = nil
	}
	if modality != spec.Text {
		f.vision = nil
	}
	f.stats.Resets++
	return nil
}

func (f *visionKVFuse) TextLen() int { return len(f.text) }

func (f *visionKVFuse) VisionLen() int { return len(f.vision) }

func (f *visionKVFuse) MemoryRatio() float64 {
	if len(f.text) == 0 {
		return 0
	}
	return float64(len(f.vision)) / float64(len(f.text))
}

func (f *visionKVFuse) Stats() spec.VisionKVFuseStats { return f.stats }
