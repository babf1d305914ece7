"""The only room that speaks to Docker: containers, images, and the labels that hold what zun-arm knows."""
