{
 "publisher": "CxJ9RSK+LSKb+ckE/QGHpXtYSfxkA3/m7G7Zw0GtJ78=",
 "signature": "B4qQyfG6IcSV/VRqN8UKEihR53dpkFl9sC+0QSXhWvCfLXdasDHej9Zy18QM2fJ3G5iqO391vycdZKIobTSNDA=="
}
