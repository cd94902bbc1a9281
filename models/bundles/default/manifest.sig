{
 "publisher": "L88PCyTruPpWr6xkuKnJiz+W/5HiNdQIXwXddw8t1wI=",
 "signature": "UkLEaI0aNGnjnpO26LuE/DRIikzsDGP5tMUVZcDTZLMp3sWCaAA6XYiyBdfZwez7OF8+IWCHe3Nc5We/KnhECg=="
}
