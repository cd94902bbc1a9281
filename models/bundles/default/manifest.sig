{
 "publisher": "M4HsgsEBprRul+XIqAaGWa+4Ia+QsvTVworif6nMivU=",
 "signature": "+1V+qEZaIIU6sv2k0NEg0vzf8RbF9p8v368tPQF4JFmh7Sa2585yVe5pT0bomY27HxhmsM6uUtxchgy7xeXGCg=="
}
