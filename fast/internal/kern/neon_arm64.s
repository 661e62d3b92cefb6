//go:build !purego

#include "textflag.h"

// func dotNEON(sums *[16]float32, x, y *float32, n int)
TEXT ·dotNEON(SB), NOSPLIT, $0-32
	MOVD sums+0(FP), R0
	MOVD x+8(FP), R1
	MOVD y+16(FP), R2
	MOVD n+24(FP), R3
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	CBZ  R3, done

loop:
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R2), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA  V4.S4, V16.S4, V0.S4
	VFMLA  V5.S4, V17.S4, V1.S4
	VFMLA  V6.S4, V18.S4, V2.S4
	VFMLA  V7.S4, V19.S4, V3.S4
	SUBS   $16, R3, R3
	BNE    loop

done:
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	RET

// func gemmTileNEON(c *float32, ldc int, a *float32, rs int, cs int, b *float32, ldb int, k int)
TEXT ·gemmTileNEON(SB), NOSPLIT, $0-64
	MOVD c+0(FP), R0
	MOVD ldc+8(FP), R1
	MOVD a+16(FP), R2
	MOVD rs+24(FP), R3
	MOVD cs+32(FP), R4
	MOVD b+40(FP), R5
	MOVD ldb+48(FP), R6
	MOVD k+56(FP), R7
	LSL  $2, R1, R1
	LSL  $2, R3, R3
	LSL  $2, R4, R4
	LSL  $2, R6, R6
	ADD  R1, R0, R8
	ADD  R1, R8, R9
	ADD  R1, R9, R10
	ADD  R3, R2, R11
	ADD  R3, R11, R12
	ADD  R3, R12, R13
	VLD1 (R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1 (R8), [V20.S4, V21.S4, V22.S4, V23.S4]
	VLD1 (R9), [V24.S4, V25.S4, V26.S4, V27.S4]
	VLD1 (R10), [V28.S4, V29.S4, V30.S4, V31.S4]
	CBZ  R7, tiled

column:
	VLD1  (R5), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1R (R2), [V4.S4]
	VLD1R (R11), [V5.S4]
	VLD1R (R12), [V6.S4]
	VLD1R (R13), [V7.S4]
	ADD   R6, R5, R5
	ADD   R4, R2, R2
	ADD   R4, R11, R11
	ADD   R4, R12, R12
	ADD   R4, R13, R13
	VFMLA V0.S4, V4.S4, V16.S4
	VFMLA V1.S4, V4.S4, V17.S4
	VFMLA V2.S4, V4.S4, V18.S4
	VFMLA V3.S4, V4.S4, V19.S4
	VFMLA V0.S4, V5.S4, V20.S4
	VFMLA V1.S4, V5.S4, V21.S4
	VFMLA V2.S4, V5.S4, V22.S4
	VFMLA V3.S4, V5.S4, V23.S4
	VFMLA V0.S4, V6.S4, V24.S4
	VFMLA V1.S4, V6.S4, V25.S4
	VFMLA V2.S4, V6.S4, V26.S4
	VFMLA V3.S4, V6.S4, V27.S4
	VFMLA V0.S4, V7.S4, V28.S4
	VFMLA V1.S4, V7.S4, V29.S4
	VFMLA V2.S4, V7.S4, V30.S4
	VFMLA V3.S4, V7.S4, V31.S4
	SUBS  $1, R7, R7
	BNE   column

tiled:
	VST1 [V16.S4, V17.S4, V18.S4, V19.S4], (R0)
	VST1 [V20.S4, V21.S4, V22.S4, V23.S4], (R8)
	VST1 [V24.S4, V25.S4, V26.S4, V27.S4], (R9)
	VST1 [V28.S4, V29.S4, V30.S4, V31.S4], (R10)
	RET

// func gemmRowNEON(c *float32, a *float32, cs int, b *float32, ldb int, n int, k int)
TEXT ·gemmRowNEON(SB), NOSPLIT, $0-56
	MOVD c+0(FP), R0
	MOVD a+8(FP), R2
	MOVD cs+16(FP), R4
	MOVD b+24(FP), R5
	MOVD ldb+32(FP), R6
	MOVD n+40(FP), R8
	MOVD k+48(FP), R7
	LSL  $2, R4, R4
	LSL  $2, R6, R6
	CBZ  R7, done

sixteen:
	CMP  $16, R8
	BLT  four
	VLD1 (R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	MOVD R2, R9
	MOVD R5, R10
	MOVD R7, R11

sixteenColumn:
	VLD1  (R10), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1R (R9), [V4.S4]
	ADD   R6, R10, R10
	ADD   R4, R9, R9
	VFMLA V0.S4, V4.S4, V16.S4
	VFMLA V1.S4, V4.S4, V17.S4
	VFMLA V2.S4, V4.S4, V18.S4
	VFMLA V3.S4, V4.S4, V19.S4
	SUBS  $1, R11, R11
	BNE   sixteenColumn
	VST1  [V16.S4, V17.S4, V18.S4, V19.S4], (R0)
	ADD   $64, R0, R0
	ADD   $64, R5, R5
	SUB   $16, R8, R8
	B     sixteen

four:
	CMP  $4, R8
	BLT  one
	VLD1 (R0), [V16.S4]
	MOVD R2, R9
	MOVD R5, R10
	MOVD R7, R11

fourColumn:
	VLD1  (R10), [V0.S4]
	VLD1R (R9), [V4.S4]
	ADD   R6, R10, R10
	ADD   R4, R9, R9
	VFMLA V0.S4, V4.S4, V16.S4
	SUBS  $1, R11, R11
	BNE   fourColumn
	VST1  [V16.S4], (R0)
	ADD   $16, R0, R0
	ADD   $16, R5, R5
	SUB   $4, R8, R8
	B     four

one:
	CBZ   R8, done
	FMOVS (R0), F16
	MOVD  R2, R9
	MOVD  R5, R10
	MOVD  R7, R11

oneColumn:
	FMOVS  (R10), F0
	FMOVS  (R9), F4
	ADD    R6, R10, R10
	ADD    R4, R9, R9
	FMADDS F4, F16, F0, F16
	SUBS   $1, R11, R11
	BNE    oneColumn
	FMOVS  F16, (R0)
	ADD    $4, R0, R0
	ADD    $4, R5, R5
	SUB    $1, R8, R8
	B      one

done:
	RET
