{
 "publisher": "Z6RTKXM5tPqydwiGHOpbQbPcnw3hri2BLvdXnUFZvDM=",
 "signature": "YjXeoD4MfGKpz4bi3gidg/LayisLai44KAn6X3rnJa26EkgN/WD1atF0EjWoZ/ZpaUbYpu0YLnaqXTZH41QGBg=="
}
