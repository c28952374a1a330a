console.log("the page of the tests");
