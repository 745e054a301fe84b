"""The object outside its processes: files and object stores. Hosts write, and peers look back."""
