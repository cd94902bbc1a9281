{
 "publisher": "L88PCyTruPpWr6xkuKnJiz+W/5HiNdQIXwXddw8t1wI=",
 "signature": "0gJMDCVVmS6YAemTKmuHiOzFAYx+vogIH4lVMAbxLb+LFff6ojLFdSW1xaReAbKWYodokKD5+yyS4cW/PgKVAA=="
}
