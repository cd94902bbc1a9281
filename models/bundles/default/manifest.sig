{
 "publisher": "nO5q1MUUBpcd0egu8LOzEIDZiN4+nBy6xKuGDK5G5e8=",
 "signature": "jNZ2y76xTJjMTg4D3FI9gBPX6de9aHGXnu2xT8vqMXGA0HQBzFSRamgvaQ9HaGHYXFzGcDug9nAG+DWDxaHdDw=="
}
