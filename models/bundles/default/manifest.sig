{
 "publisher": "CxJ9RSK+LSKb+ckE/QGHpXtYSfxkA3/m7G7Zw0GtJ78=",
 "signature": "fQ3Rr60+jb6ZI8ksHGmA1L4yZjfbeEKX37rkGT616/zRu8HNPR8Dp/e9GFUF546nqGu/VozVpLMRHeMxqF16Cg=="
}
