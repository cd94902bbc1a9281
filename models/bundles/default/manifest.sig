{
 "publisher": "7FnFWXubVeuevZRM3W3aUMG5HMLSw4rIk0LxVBTlHlc=",
 "signature": "h8GaLhJBgLbntGnG1uiYu+2S+mslZ93TjxDv0qhfO/MldYj8bNNko+YVDdHSDpepT6lrc+/mFvdG7Zfrh0J0CA=="
}
