TITLE = "echo"
