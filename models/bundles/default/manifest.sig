{
 "publisher": "ESIkPSdYBFnwPmnD9axkcB2bYWtE8SL6gcpBX41euMs=",
 "signature": "oUHLse8lqcDvIweQ9hb1Yx06UODM1pZkLjYjtiBjsdoLphffisBgfGN0IclUj4Oag1Y+Ltw02BahYn8O/94UCw=="
}
